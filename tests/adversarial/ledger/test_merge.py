"""Merging shards: each attempt occurs once, in whatever order and however often they are merged."""

import multiprocessing
import signal
from contextlib import closing
from pathlib import Path

import pytest

from tests.adversarial.attempts import STAGES, attempt, call, decide, fill
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.ledger.merge import Merged, merge
from vcjax.adversarial.ledger.query import attempt_with_calls, attempts, usage
from vcjax.adversarial.ledger.schema import opened_to_read
from vcjax.core.errors import UserError
from vcjax.roles.role import Reply
from vcjax.roles.verdict import Verdict

UNSTEADY = {"created", "seconds", "cost"}


@pytest.fixture
def shards(tmp_path) -> list[Path]:
    """Three shards of twelve attempts; the last has two calls of an attempt that isn't decided."""
    paths = [tmp_path / f"{shard}.sqlite" for shard in range(3)]
    for shard, path in enumerate(paths):
        fill(path, range(shard, 12, 3))
    with Ledger(paths[2], charter="hash") as ledger:
        for stage in STAGES[:2]:
            call(ledger, attempt(14).id, stage)
    return paths


def content(path: Path) -> list[dict]:
    """All that a ledger has, except when it was recorded."""
    with opened_to_read(path) as connection:
        ids = [row[0] for row in connection.execute("SELECT DISTINCT attempt FROM calls")]
        ids += [row["id"] for row in attempts(connection)]
        return [without_times(attempt_with_calls(connection, id)) for id in sorted(set(ids))]


def without_times(value):
    if isinstance(value, list):
        return [without_times(each) for each in value]
    if isinstance(value, dict):
        return {name: without_times(each) for name, each in value.items() if name not in UNSTEADY}
    return value


def test_shards_merge_into_what_one_process_would_have_written(tmp_path, shards):
    alone = tmp_path / "alone.sqlite"
    fill(alone, range(12))
    with Ledger(alone, charter="hash") as ledger:
        for stage in STAGES[:2]:
            call(ledger, attempt(14).id, stage)
    told = []
    merged = merge(tmp_path / "all.sqlite", shards, told.append)
    assert merged == Merged(attempts=12, calls=12 * 3 + 2, known=0, conflicts=[])
    assert told == shards
    assert content(tmp_path / "all.sqlite") == content(alone)
    with opened_to_read(tmp_path / "all.sqlite") as connection:
        assert [row["number"] for row in attempts(connection)] == list(range(12))
        assert len(usage(connection)) == 3


def test_a_merge_again_or_in_another_order_changes_nothing(tmp_path, shards):
    path = tmp_path / "all.sqlite"
    merge(path, shards)
    before = content(path)
    assert merge(path, [*shards, shards[0]]) == Merged(0, 0, 16, [])
    assert content(path) == before
    for shard in reversed(shards):
        merge(tmp_path / "other.sqlite", [shard])
    assert content(tmp_path / "other.sqlite") == before


def test_what_a_shard_has_done_since_is_added(tmp_path, shards):
    path = tmp_path / "all.sqlite"
    merge(path, shards)
    with Ledger(shards[2], charter="hash") as ledger:  # a shard whose run goes on
        call(ledger, attempt(14).id, STAGES[2])
        decide(ledger, attempt(14))
        assert merge(path, shards) == Merged(1, 1, 12, [])
    assert content(path)[-1]["call_count"] == 3


def test_what_two_ledgers_tell_differently_is_reported_and_left_as_it_was(tmp_path, shards):
    path, other = tmp_path / "all.sqlite", tmp_path / "other.sqlite"
    merge(path, shards)
    before = content(path)
    with Ledger(other, charter="hash") as ledger:
        decide(ledger, attempt(3), verdict=Verdict("rejected", "critic: score 1", 1))
        decide(ledger, attempt(4), answer="Something else.")
        for stage in STAGES:
            call(ledger, attempt(5).id, stage, Reply("Something else.", "stop", 4, 2))
        for planned in (attempt(6), attempt(20)):
            for stage in STAGES:
                call(ledger, planned.id, stage)
            decide(ledger, planned)
    merged = merge(path, [other])
    conflicting = sorted(attempt(number).id for number in (3, 4, 5))
    assert merged == Merged(attempts=1, calls=3, known=1, conflicts=conflicting)
    assert [each for each in content(path) if each["id"] != attempt(20).id] == before


def test_the_same_call_by_another_model_is_a_conflict(tmp_path):
    for name, model in (("one", "m"), ("other", "n")):
        with Ledger(tmp_path / name) as ledger:
            ask = attempt(0).id, "actor/0"
            call(ledger, *ask, Reply("x", "stop", 1, 1, model=model))
    merge(tmp_path / "all.sqlite", [tmp_path / "one"])
    assert merge(tmp_path / "all.sqlite", [tmp_path / "other"]).conflicts == [attempt(0).id]


def test_what_is_no_ledger_is_named_and_nothing_of_it_is_taken(tmp_path, shards):
    path = tmp_path / "all.sqlite"
    text = tmp_path / "text.sqlite"
    text.write_text("no ledger " * 200, encoding="utf-8")
    for sources, message in (
        ([], "name the ledgers"),
        ([shards[0], tmp_path / "none.sqlite"], "none.sqlite: no such ledger"),
    ):
        with pytest.raises(UserError, match=message):
            merge(path, sources)
        assert not path.exists()
    with pytest.raises(UserError, match=r"all\.sqlite: there is no folder .*nowhere"):
        merge(tmp_path / "nowhere" / "all.sqlite", shards)
    merge(path, shards[:1])
    with pytest.raises(UserError, match=r"text\.sqlite: not a ledger"):
        merge(path, [text])
    with pytest.raises(UserError, match="can't be merged into itself"):
        merge(path, [path])
    assert len(content(path)) == 4
    with Ledger(path), pytest.raises(UserError, match="another run is using this ledger"):
        merge(path, shards)


def merge_all(path: Path, sources: list[Path]) -> None:
    merge(path, sources)


def test_a_merge_that_is_killed_is_made_good_by_the_next(tmp_path):
    sources = [tmp_path / f"{n}.sqlite" for n in range(2)]
    for n, source in enumerate(sources):
        fill(source, range(n, 1000, 2))
    path, spawned = tmp_path / "all.sqlite", multiprocessing.get_context("spawn")
    process = spawned.Process(target=merge_all, args=(path, sources))
    process.start()
    log = path.with_name(path.name + "-wal")
    while process.is_alive() and not (log.exists() and log.stat().st_size > 100_000):
        pass
    process.kill()
    process.join()
    assert process.exitcode in (-signal.SIGKILL, 0)
    with opened_to_read(path) as connection, closing(connection.execute("SELECT 1")):
        there = len(list(attempts(connection, details=False)))
    assert there in (0, 500, 1000)
    assert merge(path, sources).attempts == 1000 - there
    assert len(content(path)) == 1000
