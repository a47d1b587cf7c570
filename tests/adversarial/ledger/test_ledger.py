"""The ledger: its records are permanent and belong to one run."""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass

import pytest

from tests.adversarial.attempts import ASK, REPLY, STAGES, attempt, call, decide, fill
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.ledger.query import asked_queries, attempt_with_calls, counts
from vcjax.adversarial.ledger.schema import opened_to_read
from vcjax.core.errors import UserError
from vcjax.roles.role import Ask, Reply
from vcjax.roles.verdict import Verdict


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


def test_the_total_of_an_attempt_is_null_where_the_price_of_one_call_is_not_known(path):
    with Ledger(path) as ledger:
        call(ledger, attempt(0).id, "actor", Reply("x", "stop", 4, 2, cost=0.25))
        call(ledger, attempt(0).id, "critic/0", Reply("x", "stop", 4, 2))
        decide(ledger, attempt(0))
        (row,) = ledger.attempts()
        (spent,) = [each for each in ledger.usage() if each["role"] == "critic"]
    assert row["cost"] is None
    assert (spent["unpriced_prompt_tokens"], spent["unpriced_tokens"]) == (4, 2)


def decide_twice(ledger: Ledger) -> None:
    with ledger.transaction():
        call(ledger, "x", "actor")
        for _ in range(2):
            decide(ledger, attempt(0))


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
