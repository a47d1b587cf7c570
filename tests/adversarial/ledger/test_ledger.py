"""The ledger: its records are permanent and belong to one run."""

import itertools
import json
import multiprocessing
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tests.adversarial.attempts import ASK, REPLY, STAGES, attempt, call, decide, fill
from tests.processes import file_size_limit
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.ledger.merge import merge
from vcjax.adversarial.ledger.query import asked_queries, attempt_with_calls, attempts, counts
from vcjax.adversarial.ledger.schema import VERSION, opened_to_read
from vcjax.core.errors import UserError
from vcjax.core.files import lock_file
from vcjax.roles.role import Ask, Reply
from vcjax.roles.verdict import Verdict


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "ledger.sqlite"


def test_a_call_is_read_as_it_was_recorded_after_a_reopening(path):
    full = Reply(
        "四。",
        "stop",
        4,
        2,
        alternatives=((("4", -0.5), ("5", -1.25)),),
        seconds=1.5,
        cost=0.25,
        model="weights",
    )
    timeout = Reply.failed("timeout", "no whole answer in 9 s", seconds=9.0)
    with Ledger(path) as ledger:
        assert ledger.reply("x", "actor", ASK) is None
        call(ledger, "x", "actor")
        call(ledger, "x", "critic/0", full)
        call(ledger, "x", "critic/1", timeout)
    assert sorted(each.name for each in path.parent.iterdir()) == [
        ".ledger.sqlite.lock",
        "ledger.sqlite",
    ]
    with Ledger(path) as again:
        assert again.reply("x", "actor", ASK) == REPLY
        assert again.reply("x", "critic/0", ASK) == full
        assert again.reply("x", "critic/0", ASK).seconds == 1.5
        assert again.reply("x", "critic/1", ASK) == timeout
        assert again.reply("x", "critic", ASK) is None
        assert again.tokens() == {"actor": 2, "critic": 2}
        with pytest.raises(sqlite3.IntegrityError):
            call(again, "x", "actor")


def test_a_call_that_was_asked_otherwise_is_refused(path):
    with Ledger(path) as ledger:
        call(ledger, "x", "actor")
        for other in (
            Ask("x/actor", ({"role": "user", "content": "为何?"},), 9),
            Ask("x/actor", ASK.messages, 9, json_schema={"type": "object"}),
        ):
            with pytest.raises(UserError, match="x/actor was asked with another prompt"):
                ledger.reply("x", "actor", other)


def test_a_stage_says_all_there_is_to_know_of_it(path):
    planned, ask = attempt(0), Ask("k", ASK.messages, 9, 0.5, 0.9, 3, {"type": "object"}, 5)
    with Ledger(path, charter="hash") as ledger:
        call(ledger, planned.id, "critic/0", Reply("四。", "stop", 4, 2, cost=0.5), ask)
        with opened_to_read(path) as connection:
            told = attempt_with_calls(connection, planned.id)
    assert told["id"] == planned.id
    (stage,) = told["calls"]
    assert stage["parameters"] == {
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "json_schema": True,
        "top_logprobs": 5,
    }
    assert len(stage["prompt_hash"]) == 32
    assert stage["prompt"] == list(ASK.messages)
    known = {"stage": "critic/0", "text": "四。", "seed": 3, "cost": 0.5, "charter": "hash"}
    known |= {"model": "m", "family": "f", "revision": "", "outcome": "ok", "tokens": 2}
    assert known.items() <= stage.items()


def test_an_attempt_is_read_with_the_cost_of_its_calls(path):
    said = [("user", "So?"), ("assistant", "So."), ("user", "And?")]
    turns = [{"role": role, "content": text} for role, text in said]
    planned = attempt(3, severity=3, turns=2)
    with Ledger(path) as ledger:
        for stage in STAGES:
            call(ledger, planned.id, stage, Reply("x", "stop", 4, 2, seconds=0.5, cost=0.25))
        rejected = Verdict("rejected", "critic: score 2", 2)
        decide(ledger, planned, verdict=rejected, conversation=turns)
        (found,) = ledger.attempts()
        (row,) = ledger.decided()
        decide(ledger, attempt(4))
    expected = {"id": planned.id, "number": 3, "wave": 0, "round": 0, "severity": 3, "turns": 2}
    expected |= {"kind": "rejected", "reason": "critic: score 2", "score": 2, "topic": "old parks"}
    expected |= {"call_count": 3, "prompt_tokens": 12, "tokens": 6, "seconds": 1.5, "cost": 0.75}
    assert expected.items() <= row.items() <= found.items()
    assert found.keys() - row.keys() == {"answer", "conversation", "candidates"}
    assert found["conversation"] == turns
    with opened_to_read(path) as connection:
        assert list(asked_queries(connection)) == ["So?", "And?", "Why 4?"]
    assert found["candidates"] == [{"by": "actor", "answer": "因为。", "kind": "accepted"}]


def test_attempts_are_counted_and_what_was_spent_is_summed(path):
    fill(path, range(8))
    with Ledger(path) as ledger:
        decide(ledger, attempt(8), verdict=Verdict("unscored", "critic: timeout"))
        call(ledger, "later", "critic/1", Reply.failed("timeout"))
        spent = {(row["role"], row["revision"]): row for row in ledger.usage()}
    with opened_to_read(path) as connection:
        assert counts(connection, ["attack", "kind"]) == [
            {"attack": "dilemma", "kind": "accepted", "attempts": 4},
            {"attack": "dilemma", "kind": "unscored", "attempts": 1},
            {"attack": "persona", "kind": "accepted", "attempts": 4},
        ]
        assert counts(connection, []) == [{"attempts": 9}]
    assert spent.keys() == {
        *((role, "weights") for role in ("actor", "attacker", "critic")),
        ("critic", ""),
    }
    assert (spent["actor", "weights"]["calls"], spent["actor", "weights"]["tokens"]) == (8, 16)
    assert (spent["critic", ""]["calls"], spent["critic", ""]["failed"]) == (1, 1)


def test_records_made_together_are_all_there_or_none(path):
    with Ledger(path) as ledger:
        with pytest.raises(sqlite3.IntegrityError):
            decide_twice(ledger)
        assert list(ledger.attempts()) == []
        call(ledger, "x", "actor")  # its model's row went, too, and is made again
        with ledger.transaction():
            decide(ledger, attempt(1))
            decide(ledger, attempt(0))
        assert [each["number"] for each in ledger.attempts()] == [0, 1]


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


def test_the_total_of_an_attempt_is_null_where_the_price_of_one_call_is_not_known(path):
    with Ledger(path) as ledger:
        call(ledger, attempt(0).id, "actor", Reply("x", "stop", 4, 2, cost=0.25))
        call(ledger, attempt(0).id, "critic/0", Reply("x", "stop", 4, 2))
        decide(ledger, attempt(0))
        (row,) = ledger.attempts()
        (spent,) = [each for each in ledger.usage() if each["role"] == "critic"]
    assert row["cost"] is None
    assert (spent["unpriced_prompt_tokens"], spent["unpriced_tokens"]) == (4, 2)


def test_a_ledger_of_version_2_that_a_run_has_is_not_changed_under_it(earlier):
    path, _ = earlier
    lock = lock_file(path.with_name(f".{path.name}.lock"), "locked")
    with lock, pytest.raises(UserError, match="another run is using this ledger"):
        read(path)


def decide_twice(ledger: Ledger) -> None:
    with ledger.transaction():
        call(ledger, "x", "actor")
        for _ in range(2):
            decide(ledger, attempt(0))


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


def test_a_ledger_has_one_writer_at_a_time_and_any_number_of_readers(path):
    with Ledger(path) as ledger:
        decide(ledger, attempt(0))
        with pytest.raises(UserError, match="another run is using this ledger"):
            Ledger(path)
        with opened_to_read(path) as one, opened_to_read(path) as other:
            decide(ledger, attempt(1))
            for reader in (one, other):
                assert reader.execute("SELECT count(*) FROM attempts").fetchone()[0] == 2
                with pytest.raises(sqlite3.OperationalError, match="readonly"):
                    reader.execute("DELETE FROM attempts")
    Ledger(path).close()


def test_a_ledger_that_another_program_has_locked_is_waited_for_and_then_named(path):
    with Ledger(path, patience=0.01) as ledger, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UserError) as caught:
            call(ledger, "x", "actor")
        assert str(caught.value).startswith(f"{path}: locked by another program; close it: ")
        other.rollback()
        call(ledger, "x", "actor")
        assert ledger.reply("x", "actor", ASK) == REPLY


def test_a_folder_that_cannot_be_written_can_be_read(tmp_path, path):
    fill(path, [0])
    tmp_path.chmod(0o555)
    try:
        with opened_to_read(path) as connection:
            assert attempt_with_calls(connection, attempt(0).id)["kind"] == "accepted"
    finally:
        tmp_path.chmod(0o755)


def until_it_is_full(ledger: Ledger, first: int = 0) -> int:
    """Records calls until there is no room; how many there was room for."""
    recorded = []

    def record_on() -> None:
        for number in itertools.count(first):
            call(ledger, f"{number}", "actor", Reply("x" * 3000, "stop", 4, 2))
            recorded.append(number)

    with pytest.raises(OSError, match="what was recorded is kept") as caught:
        record_on()
    assert caught.value.filename == str(ledger.path)
    return len(recorded)


def kept(path: Path) -> int:
    with opened_to_read(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return connection.execute("SELECT count(*) FROM calls").fetchone()[0]


def test_a_limit_of_file_sizes_loses_nothing_and_the_run_continues_after_it(path):
    with Ledger(path) as ledger:
        with file_size_limit(2**18):
            recorded = until_it_is_full(ledger)
        assert 0 < recorded == kept(path)
        call(ledger, f"{recorded}", "actor")
    assert kept(path) == recorded + 1


def test_a_full_disk_loses_nothing(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        path = small / "ledger.sqlite"
        with Ledger(path) as ledger:
            recorded = until_it_is_full(ledger)
            with suppress(OSError), ledger.transaction():
                until_it_is_full(ledger, recorded)
                raise OSError  # as it would have, had the test not caught it
            assert 0 < recorded == kept(path)
        copied = shutil.copytree(small, tmp_path / "roomy") / "ledger.sqlite"
        with Ledger(copied) as ledger:
            call(ledger, f"{recorded}", "actor")
        assert kept(copied) == recorded + 1
    finally:
        subprocess.run(["umount", str(small)], check=True)


def record_on_and_on(path: Path, said: Connection) -> None:
    """Records attempts as fast as it can, and says which calls and attempts it knows to be kept."""
    ledger, number = Ledger(path), 0
    while True:
        planned = attempt(number)
        for stage in STAGES:
            if ledger.reply(planned.id, stage, ASK) is None:
                call(ledger, planned.id, stage)
                said.send([planned.id, stage])
        if number not in {row["number"] for row in ledger.decided()}:
            decide(ledger, planned)
            said.send([planned.id, "decided"])
        number += 1


def test_a_kill_at_any_moment_loses_nothing_that_was_recorded(path):
    spawned = multiprocessing.get_context("spawn")
    told: set[tuple[str, str]] = set()
    for count in (1, 17, 40, 3, 25):
        hears, says = spawned.Pipe(duplex=False)
        process = spawned.Process(target=record_on_and_on, args=(path, says))
        process.start()
        says.close()
        for _ in range(count):
            told.add(tuple(hears.recv()))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        while hears.poll():
            try:
                told.add(tuple(hears.recv()))
            except EOFError:
                break
        with opened_to_read(path) as connection:
            there = {tuple(row) for row in connection.execute("SELECT attempt, stage FROM calls")}
            rows = connection.execute("SELECT id FROM attempts JOIN details USING (key)")
            there |= {(id, "decided") for (id,) in rows}
        assert told <= there
        assert len(there - told) <= 1  # what was recorded and not said any more
        told = there


def test_what_is_recorded_can_be_read_by_anything_that_reads_sqlite(path):
    fill(path, range(3))
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT candidates FROM attempts JOIN details USING (key)")
        assert [json.loads(text)[0]["kind"] for (text,) in rows] == ["accepted"] * 3


@dataclass
class Played:
    """A role by what a ledger knows of it."""

    identity: str
    model: str = "m"


def opened(path, identity, charter="hash"):
    with Ledger.of_run(path, roles=[Played(identity)], charter=charter) as ledger:
        return len(list(ledger.attempts()))


def test_a_ledger_of_the_same_model_and_charter_is_continued(path):
    fill(path, range(2))  # replies of a model whose content hash is `weights`
    assert opened(path, "weights") == 2
    assert opened(path, "m") == 2  # an endpoint, whose weights nobody can hash
    assert opened(path, "weights", charter="") == 2


@pytest.mark.parametrize(
    ("identity", "charter", "what"),
    [("retrained", "hash", "other weights of m"), ("weights", "edited", "another charter")],
)
def test_a_model_or_charter_that_changed_under_its_path_is_asked_anew(
    path, identity, charter, what, capsys
):
    fill(path, range(2))
    assert opened(path, identity, charter) == 0
    assert f"has calls of {what} than this run's now: all is asked anew" in capsys.readouterr().err
    with opened_to_read(path.with_name(f".{path.name}.superseded")) as kept:
        assert kept.execute("SELECT count(*) FROM calls").fetchone()[0] == 2 * len(STAGES)
    assert opened(path, identity, charter) == 0
    assert capsys.readouterr().err == ""


def test_a_merged_ledger_of_other_weights_is_refused_and_left_alone(path):
    fill(path, range(2))
    with Ledger(path) as ledger:
        decide(ledger, attempt(0, attack="another"))
    with pytest.raises(UserError, match="merged from ledgers of which some have calls of other"):
        opened(path, "retrained")
    assert opened(path, "weights") == 3
