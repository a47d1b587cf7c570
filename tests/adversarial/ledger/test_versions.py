"""Ledgers of other versions: that of the version before is made one of this, others are refused."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.adversarial.attempts import ASK, STAGES, attempt, call, decide, fill
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.ledger.merge import merge
from vcjax.adversarial.ledger.query import attempts
from vcjax.adversarial.ledger.schema import VERSION, opened_to_read
from vcjax.core.errors import UserError
from vcjax.core.files import lock_file
from vcjax.roles.role import Reply


def as_version_2(path: Path) -> None:
    """Makes a ledger what it was in version 2: a cost that wasn't known is 0."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for table in ("calls", "attempts"):
            (made,) = connection.execute(
                "SELECT sql FROM sqlite_master WHERE name = ?", (table,)
            ).fetchone()
            assert "cost REAL," in made
            old = made.replace("cost REAL,", "cost REAL NOT NULL,").replace(
                table, f"old_{table}", 1
            )
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            given = ["coalesce(cost, 0)" if name == "cost" else name for name in columns]
            connection.execute(old)
            connection.execute(f"INSERT INTO old_{table} SELECT {', '.join(given)} FROM {table}")
            connection.execute(f"DROP TABLE {table}")
            connection.execute(f"ALTER TABLE old_{table} RENAME TO {table}")
        connection.execute("CREATE INDEX attempts_by_number ON attempts (number)")
        connection.execute("PRAGMA user_version = 2")


def read(path: Path) -> list[dict]:
    with opened_to_read(path) as connection:
        calls = connection.execute("SELECT * FROM calls ORDER BY key")
        return [*map(dict, calls), *attempts(connection)]


@pytest.fixture
def earlier(path) -> tuple[Path, list[dict]]:
    """A ledger of version 2, and what its rows are in this one."""
    fill(path, [0])  # whose calls have no price
    priced, failed = Reply("x", "stop", 4, 2, cost=0.25), Reply.failed("timeout")
    with Ledger(path) as ledger:
        ask = dict(model="priced", family="f")
        for number in (1, 2):
            planned = attempt(number)
            ledger.record_call(planned.id, "critic/0", ASK, priced, **ask)
            ledger.record_call(planned.id, "critic/1", ASK, replace(failed, cost=0.0), **ask)
            if number == 2:
                ledger.record_call(planned.id, "critic/2", ASK, failed, model="free", family="f")
            decide(ledger, planned)
        decide(ledger, attempt(3))
    rows = read(path)
    as_version_2(path)
    return path, rows


def open_and_close(path: Path) -> None:
    Ledger(path).close()


def merge_alone(path: Path) -> None:
    merge(path.with_name("merged.sqlite"), [path])


@pytest.mark.parametrize("opening", [open_and_close, read, merge_alone])
def test_a_cost_that_was_not_known_is_null_and_not_0_in_a_ledger_of_version_2_too(earlier, opening):
    path, rows = earlier
    assert {row["cost"] for row in rows} == {None, 0.0, 0.25}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM calls WHERE cost IS NULL").fetchone() == (
            0,
        )
    opening(path)
    assert read(path) == rows
    if opening is merge_alone:
        merged = read(path.with_name("merged.sqlite"))
        assert [row["cost"] for row in merged] == [row["cost"] for row in rows]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert not connection.execute("PRAGMA foreign_key_check").fetchall()
    with Ledger(path) as ledger, pytest.raises(sqlite3.IntegrityError):
        call(ledger, attempt(0).id, STAGES[0])


def test_a_ledger_of_version_2_that_a_run_has_is_not_changed_under_it(earlier):
    path, _ = earlier
    lock = lock_file(path.with_name(f".{path.name}.lock"), "locked")
    with lock, pytest.raises(UserError, match="another run is using this ledger"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"this is a text file, and a long one " * 50, "not a ledger (file is not a database)"),
        (["CREATE TABLE calls (attempt)"], "a ledger of version 0, and this vcjax reads version"),
        (["CREATE TABLE other (x)"], "not a ledger (a database of another program)"),
        ([f"PRAGMA user_version = {VERSION + 1}"], f"a ledger of version {VERSION + 1}"),
        # Its queries were cut, and it has no column for which of them are seed questions.
        (["PRAGMA user_version = 1"], "a ledger of version 1, and this vcjax reads version"),
    ],
)
def test_a_file_that_is_no_ledger_of_this_version_is_refused_and_left_alone(path, content, message):
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        if content[0].startswith("PRAGMA"):
            fill(path, [0])
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(content[0])
            connection.commit()
    before = path.read_bytes()
    for opening in (Ledger, lambda path: opened_to_read(path).__enter__()):
        with pytest.raises(UserError) as caught:
            opening(path)
        assert str(caught.value).startswith(f"{path}: {message}")
    assert len(path.read_bytes()) == len(before)
