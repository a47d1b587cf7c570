"""Merging the ledgers of shards: several processes or hosts on one plan, each with its own file."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from vcjax.adversarial.ledger.prompts import take_prompts
from vcjax.adversarial.ledger.schema import (
    ATTEMPT,
    CALL,
    DETAIL,
    SETUP,
    check_version,
    open_to_write,
    read_only,
    readable_errors,
    upgrade,
)
from vcjax.core.errors import UserError

_UNSTEADY = ("created", "seconds", "cost")
"""Columns in which two correct records of one attempt may differ."""


@dataclass
class Merged:
    """The result of a merge.

    Attributes:
      attempts, calls: how many were added.
      known: attempts that the target had already, and the same.
      conflicts: ids of attempts that differ in source and target; the target's are left alone.
    """

    attempts: int = 0
    calls: int = 0
    known: int = 0
    conflicts: list[str] = field(default_factory=list)


def merge(
    into: str | Path,
    sources: Sequence[str | Path],
    on_source: Callable[[Path], None] = lambda source: None,
) -> Merged:
    """Adds to the ledger `into`, which is made if need be, what it lacks of the sources.

    What is there already is left alone, so that a merge can be repeated, or continued after a kill;
    a source is added whole or, after an error, not at all. Sources are only read, also while a run
    writes to them, after an `upgrade` of those of an earlier version.

    Args:
      on_source: called with each source before it is read.

    Raises:
      UserError: a source that is absent, no ledger, or `into` itself; before anything is written.
    """
    into, paths = Path(into), [Path(source) for source in sources]
    if not paths:
        raise UserError("merge: name the ledgers to be merged")
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path}: no such ledger")
        if into.exists() and path.samefile(into):
            raise UserError(f"{path}: can't be merged into itself")
    merged = Merged()
    connection, lock = open_to_write(into)
    with lock, closing(connection):
        for path in paths:
            on_source(path)
            upgrade(path)
            with readable_errors(path):
                _take(connection, path, merged)
    return merged


def _take(connection: sqlite3.Connection, path: Path, merged: Merged) -> None:
    connection.execute("ATTACH ? AS source", (read_only(path),))
    try:
        check_version(connection, path, "source")
        # One transaction a source: a merge that is killed has it whole or not at all, and goes on
        # from there.
        connection.execute("BEGIN IMMEDIATE")
        try:
            taken = _take_rows(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    finally:
        connection.execute("DETACH source")
    merged.attempts += taken.attempts
    merged.calls += taken.calls
    merged.known += taken.known
    merged.conflicts += taken.conflicts


def _take_rows(connection: sqlite3.Connection) -> Merged:
    """Copies what is new from the database `source`, within a transaction."""
    setup, alike = ", ".join(SETUP), f"USING ({', '.join(SETUP)})"
    # A setup has another key in each file: `setup_keys` maps the source's keys to the target's.
    connection.execute(f"INSERT OR IGNORE INTO setups ({setup}) SELECT {setup} FROM source.setups")
    connection.execute(
        "CREATE TEMP TABLE setup_keys AS SELECT theirs.key AS there, ours.key AS here "
        f"FROM source.setups AS theirs JOIN main.setups AS ours {alike}"
    )
    connection.execute("CREATE TEMP TABLE clashes (id TEXT PRIMARY KEY) WITHOUT ROWID")
    # An attempt is added or left out as a whole, with its calls: `clashes` has those that differ.
    for statement in (_CLASHING_CALLS, _CLASHING_ATTEMPTS):
        connection.execute(statement)
    calls = connection.execute(_NEW_CALLS).rowcount
    attempts = connection.execute(_NEW_ATTEMPTS).rowcount
    connection.execute(_NEW_DETAILS)
    take_prompts(connection)
    (known,) = connection.execute(_KNOWN_ATTEMPTS).fetchone()
    conflicts = [id for (id,) in connection.execute("SELECT id FROM clashes ORDER BY id")]
    for table in ("setup_keys", "clashes"):
        connection.execute(f"DROP TABLE {table}")
    return Merged(attempts, calls, known - attempts, conflicts)


def _steady(table: str, columns: Iterable[str]) -> str:
    names = (name for name in columns if name not in (*_UNSTEADY, "setup"))
    return ", ".join(f"{table}.{name}" for name in names)


def _of(table: str, columns: Iterable[str]) -> str:
    return ", ".join(f"{table}.{name}" for name in columns)


_NOT_CLASHING = "NOT IN (SELECT id FROM clashes)"
_CLASHING_CALLS = (
    "INSERT INTO clashes SELECT DISTINCT theirs.attempt FROM source.calls AS theirs "
    "JOIN main.calls AS ours USING (attempt, stage) JOIN setup_keys ON there = theirs.setup "
    f"WHERE ({_steady('theirs', CALL)}, here) IS NOT ({_steady('ours', CALL)}, ours.setup)"
)
_CLASHING_ATTEMPTS = (
    "INSERT OR IGNORE INTO clashes SELECT theirs.id FROM source.attempts AS theirs "
    "JOIN main.attempts AS ours USING (id) "
    "JOIN source.details AS their_details ON their_details.key = theirs.key "
    "JOIN main.details AS our_details ON our_details.key = ours.key WHERE "
    f"({_steady('theirs', ATTEMPT)}, {_of('their_details', DETAIL)}) IS NOT "
    f"({_steady('ours', ATTEMPT)}, {_of('our_details', DETAIL)})"
)
_NEW_CALLS = (
    f"INSERT INTO main.calls ({', '.join(CALL)}) SELECT "
    + ", ".join("here" if name == "setup" else name for name in CALL)
    + " FROM source.calls AS theirs JOIN setup_keys ON there = theirs.setup "
    f"WHERE attempt {_NOT_CLASHING} AND NOT EXISTS (SELECT 1 FROM main.calls AS ours "
    "WHERE ours.attempt = theirs.attempt AND ours.stage = theirs.stage) ORDER BY theirs.key"
)
_NEW_ATTEMPTS = (
    f"INSERT INTO main.attempts ({', '.join(ATTEMPT)}) SELECT {', '.join(ATTEMPT)} "
    f"FROM source.attempts AS theirs WHERE id {_NOT_CLASHING} AND NOT EXISTS "
    "(SELECT 1 FROM main.attempts AS ours WHERE ours.id = theirs.id) ORDER BY theirs.key"
)
_NEW_DETAILS = (
    f"INSERT INTO main.details (key, {', '.join(DETAIL)}) SELECT ours.key, "
    f"{_of('details', DETAIL)} FROM source.attempts AS theirs JOIN source.details AS details "
    "ON details.key = theirs.key JOIN main.attempts AS ours ON ours.id = theirs.id "
    "WHERE NOT EXISTS (SELECT 1 FROM main.details AS there WHERE there.key = ours.key)"
)
_KNOWN_ATTEMPTS = (
    f"SELECT count(*) FROM source.attempts AS theirs JOIN main.attempts USING (id) "
    f"WHERE id {_NOT_CLASHING}"
)
