"""The tables of a ledger, how its file is opened, and what SQLite's errors mean to a user."""

import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from vcjax.adversarial.ledger.prompts import make_tables
from vcjax.core.errors import UserError
from vcjax.core.files import lock_file
from vcjax.core.stores import on_disk

VERSION = 3
"""Of the tables, stored in `user_version`. A ledger of version 2, in which a cost that wasn't known
was 0, is brought up to this one by whoever opens it. One of another version isn't read: version 1
didn't tell a query that is an attack from others, nor was what the Attacker wrote asked as a whole.
"""
_UPGRADED = 2

_APPLICATION = 0x76636A78  # "vcjx", in SQLite's `application_id`: a database of ours
PATIENCE = 30.0
"""Seconds to wait for a database that another program has locked."""

_CACHE_KIB = 65536

_TEXT, _INTEGER, _REAL = "TEXT NOT NULL", "INTEGER NOT NULL", "REAL NOT NULL"

SETUP = {
    "model": _TEXT,
    "family": _TEXT,
    "revision": _TEXT,
    "parameters": _TEXT,
    "charter": _TEXT,
}
"""How a call was made: one row for all calls with the same values, as there are millions."""

CALL = {
    "attempt": _TEXT,
    "stage": _TEXT,
    "setup": f"{_INTEGER} REFERENCES setups",
    "prompt_hash": _TEXT,
    "seed": _INTEGER,
    "text": _TEXT,
    "outcome": _TEXT,
    "detail": _TEXT,
    "finish_reason": _TEXT,
    "alternatives": "TEXT",
    "prompt_tokens": _INTEGER,
    "tokens": _INTEGER,
    "seconds": _REAL,
    "cost": "REAL",  # in the endpoint's currency; NULL: the price isn't known
    "created": _INTEGER,  # seconds since 1970
}

CELL = dict.fromkeys(("subdomain", "attack", "lang"), _TEXT)
CELL |= dict.fromkeys(("severity", "turns"), _INTEGER)

ATTEMPT = {
    "number": _INTEGER,
    "id": f"{_TEXT} UNIQUE",
    "round": _INTEGER,
    "wave": _INTEGER,
    **CELL,
    "topic": _TEXT,
    "source": _TEXT,
    "attacker_fault": "TEXT",
    "style_checked": "TEXT",  # see `attacks.style_check.QueryCheck.outcome`; NULL: not checked
    "checked_by": "TEXT",
    "query": _TEXT,
    "kind": _TEXT,
    "reason": _TEXT,
    "score": "NUMERIC",
    "call_count": _INTEGER,
    "prompt_tokens": _INTEGER,
    "tokens": _INTEGER,
    "seconds": _REAL,
    "cost": "REAL",  # of all calls; NULL: that of one isn't known
    "charter": _TEXT,
    "created": _INTEGER,
}

DETAIL = {"answer": "TEXT", "conversation": _TEXT, "candidates": _TEXT}
"""The long texts of an attempt; counting a million attempts doesn't read this table."""

_KEY = "INTEGER PRIMARY KEY"  # SQLite's own row number

TOTAL_COST = "CASE WHEN count(cost) = count(*) THEN total(cost) END"
"""What several calls have cost together: NULL where the price of one isn't known."""


def _table(name: str, columns: Mapping[str, str], constraint: str = "", key: str = _KEY) -> str:
    parts = [f"key {key}", *(f"{column} {kind}" for column, kind in columns.items())]
    return f"CREATE TABLE {name} ({', '.join([*parts, constraint] if constraint else parts)})"


_ONE_CALL_A_STAGE = "UNIQUE (attempt, stage)"
_INDEX = "CREATE INDEX attempts_by_number ON attempts (number)"
_TABLES = (
    _table("setups", SETUP, f"UNIQUE ({', '.join(SETUP)})"),
    _table("calls", CALL, _ONE_CALL_A_STAGE),
    _table("attempts", ATTEMPT),
    _INDEX,
    _table("details", DETAIL, key=f"{_KEY} REFERENCES attempts"),
)


def _copied(table: str, columns: Mapping[str, str], constraint: str = "") -> tuple[str, ...]:
    """Statements that make a table anew with the columns of now: SQLite can't change one's."""
    names = ", ".join(("key", *columns))
    return (
        _table(f"new_{table}", columns, constraint),
        f"INSERT INTO new_{table} ({names}) SELECT {names} FROM {table}",
        f"DROP TABLE {table}",
        f"ALTER TABLE new_{table} RENAME TO {table}",
    )


_UPGRADE = (
    *_copied("calls", CALL, _ONE_CALL_A_STAGE),
    *_copied("attempts", ATTEMPT),
    _INDEX,
    # A cost of 0 was either that of nothing, such as a failed call, or of tokens without a known
    # price. It is the former where the call has no tokens and the model had a price, which is to be
    # seen from the cost of another of its calls.
    "UPDATE calls SET cost = NULL WHERE cost = 0 AND (prompt_tokens + tokens > 0 OR "
    "(SELECT model FROM setups WHERE setups.key = setup) NOT IN (SELECT model FROM setups "
    "JOIN calls AS priced ON priced.setup = setups.key WHERE priced.cost > 0))",
    f"UPDATE attempts SET cost = (SELECT {TOTAL_COST} FROM calls WHERE attempt = id)",
)
"""From version 2 to 3. Without its outer transaction a kill would leave half of it."""


def open_to_write(path: Path, patience: float = PATIENCE) -> tuple[sqlite3.Connection, IO[str]]:
    """Opens or makes a ledger, and locks it against other writers until the stream is closed.

    Args:
      patience: seconds to wait for a database that another program has locked.

    Raises:
      UserError: no such folder, another run has it, it isn't a ledger, or one of another version.
    """
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}")
    if path.is_file() and path.stat().st_size and not _is_database(path):
        raise UserError(f"{path}: not a ledger (file is not a database)")
    lock = lock_file(
        path.with_name(f".{path.name}.lock"), f"{path}: another run is using this ledger"
    )
    uri = path.resolve().as_uri()
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=patience)
    try:
        connection.row_factory = sqlite3.Row
        with readable_errors(path):
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            _create_or_check(connection, path)
    except BaseException:
        connection.close()
        lock.close()
        raise
    return connection, lock


def _is_database(path: Path) -> bool:
    """Whether a file begins as SQLite's do; no lock file is to be left beside any other file."""
    with path.open("rb") as stream:
        return stream.read(16) == b"SQLite format 3\0"


def _create_or_check(connection: sqlite3.Connection, path: Path) -> None:
    """Makes the tables of an empty database, all or none of them; checks those of another.

    Raises:
      UserError: the file is no ledger, or one of another version.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        elif _is_earlier(connection):
            for statement in _UPGRADE:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        check_version(connection, path)
        make_tables(connection)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _is_earlier(connection: sqlite3.Connection) -> bool:
    """Whether a database is a ledger of the version that is brought up to this one."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return (application, version) == (_APPLICATION, _UPGRADED)


def upgrade(path: Path) -> None:
    """Brings a ledger of version 2 up to this one; does nothing with any other file.

    Raises:
      UserError: a run of an older vcjax has it, or it can't be written to.
    """
    if not path.is_file():
        return
    with readable_errors(path):
        with closing(sqlite3.connect(read_only(path), uri=True, timeout=PATIENCE)) as connection:
            if not _is_earlier(connection):
                return
        if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
            raise UserError(
                f"{path}: a ledger of version {_UPGRADED}, which is brought up to version "
                f"{VERSION} where it can be written to; copy it to such a folder"
            )
        connection, lock = open_to_write(path)
        with lock, closing(connection):
            pass


def check_version(connection: sqlite3.Connection, path: Path, database: str = "main") -> None:
    """Raises a UserError where a database isn't a ledger of this version."""
    (application,) = connection.execute(f"PRAGMA {database}.application_id").fetchone()
    (version,) = connection.execute(f"PRAGMA {database}.user_version").fetchone()
    if application != _APPLICATION:
        tables = connection.execute(f"SELECT name FROM {database}.sqlite_master").fetchall()
        if ("calls",) not in [tuple(row) for row in tables]:
            raise UserError(f"{path}: not a ledger (a database of another program)")
    if version != VERSION:
        raise UserError(
            f"{path}: a ledger of version {version}, and this vcjax reads version {VERSION}; "
            "read it with the vcjax that wrote it, or begin in another workdir"
        )


@contextmanager
def opened_to_read(path: str | os.PathLike) -> Iterator[sqlite3.Connection]:
    """A ledger that is only read, also while a run writes to it; see `upgrade`.

    Raises:
      UserError: there is none, or it is no ledger of this version.
    """
    path = on_disk(path)
    if not path.is_file():
        raise UserError(f"{path}: no such ledger")
    upgrade(path)
    with readable_errors(path):
        connection = sqlite3.connect(read_only(path), uri=True, timeout=PATIENCE)
        try:
            connection.row_factory = sqlite3.Row
            check_version(connection, path)
            yield connection
        finally:
            connection.close()


def read_only(path: Path) -> str:
    """The URI by which SQLite opens a file to read it.

    It shares a `-shm` file with the writer. Where the folder can't be written to there is none, nor
    a writer, and SQLite needs `immutable` to open the file without one.
    """
    unwritable = not os.access(path.parent, os.W_OK)
    frozen = unwritable and not path.with_name(path.name + "-wal").exists()
    return f"{path.resolve().as_uri()}?mode=ro{'&immutable=1' if frozen else ''}"


@contextmanager
def readable_errors(path: Path) -> Iterator[None]:
    """Turns SQLite's errors about the file, the disk and other programs into a line for the user.

    Raises:
      UserError: locked by another program, not a database, damaged, or not to be opened.
      OSError: no room, or the disk fails. SQLite has rolled back what it couldn't write.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", None)  # errors of the Python module have none
        base = None if code is None else code & 0xFF
        kept = "what was recorded is kept, and the same command continues from there"
        if base in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise UserError(f"{path}: locked by another program; close it: {kept}") from None
        if base == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}; {kept}", str(path)) from None
        if base == sqlite3.SQLITE_IOERR:
            reason = "the disk fails, is full, or a quota or limit of file sizes is reached"
            raise OSError(errno.EIO, f"{error} ({reason}); {kept}", str(path)) from None
        if base in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise UserError(f"{path}: not a ledger ({error})") from None
        if base in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            raise UserError(f"{path}: can't be opened ({error})") from None
        raise


def insert_statement(table: str, columns: Iterable[str]) -> str:
    """An INSERT of one row of named values."""
    names = tuple(columns)
    values = ", ".join(f":{name}" for name in names)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"
