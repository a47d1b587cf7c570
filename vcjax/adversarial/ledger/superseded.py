"""A ledger whose calls were made with other models or another charter than the run's now.

A model may be trained further under the same path. Each decision of a run depends on all attempts
before, so what such a ledger has can't be continued; it was paid for, so it isn't deleted.
"""

import sqlite3
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from vcjax.adversarial.ledger.query import is_merged
from vcjax.adversarial.ledger.schema import open_to_write, readable_errors
from vcjax.core.errors import UserError
from vcjax.roles.role import Role


def put_aside_if_changed(path: Path, *, roles: Iterable[Role], charter: str) -> None:
    """Renames a ledger that has calls of other weights of a role's model or under another charter,
    with a line on stderr; the run begins anew then.

    Args:
      path: of the ledger, which needn't exist.
      charter: content hash of the run's.

    Raises:
      UserError: another run has it, it isn't a ledger, or one of another version; or it was merged
        from others, which may be costly to make again.
    """
    if not path.is_file():
        return
    models = {role.model: role.identity for role in roles}
    connection, lock = open_to_write(path)
    with lock, closing(connection), readable_errors(path):
        changed = _changed(connection, models, charter)
        if not changed:
            return
        if is_merged(connection):
            raise UserError(
                f"{path}: merged from ledgers of which some have calls of {changed} than this "
                "run's; merge the others alone, into another workdir"
            )
        # First all of it into the one file that is renamed: calls that are still in the write-ahead
        # log would stay behind, and be read as part of the new ledger.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        aside = path.with_name(f".{path.name}.superseded")
        path.replace(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        print(
            f"{path}: has calls of {changed} than this run's now: all is asked anew; the ledger is "
            f"kept as {aside.name}",
            file=sys.stderr,
        )


def _changed(connection: sqlite3.Connection, models: Mapping[str, str], charter: str) -> str:
    """In words, what a ledger's calls were made with that isn't the run's; empty if nothing.

    Args:
      models: identities by reference. A revision is compared with these where it is a content hash
        of local weights; what an endpoint reports of its model isn't.
    """
    for row in connection.execute("SELECT DISTINCT model, revision, charter FROM setups"):
        identity = models.get(row["model"], row["model"])
        if row["revision"] and identity not in (row["model"], row["revision"]):
            return f"other weights of {row['model']}"
        if row["charter"] and charter and row["charter"] != charter:
            return "another charter"
    return ""
