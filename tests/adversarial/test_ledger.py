"""The ledger: what is in it stays, and is of this run."""

import sqlite3

import pytest

from vcjax.adversarial.ledger import Ledger
from vcjax.adversarial.matrix import plan
from vcjax.adversarial.verdict import Verdict
from vcjax.foundation.errors import UserError
from vcjax.roles.role import Ask, Reply

ASK = Ask("x/actor", ({"role": "user", "content": "为什么?"},), 9, 0.5, seed=3)
REPLY = Reply("因为。", "stop", 4, 2)


def record(ledger, attempt, verdict):
    ledger.record_attempt(
        attempt,
        source="attacker",
        attacker_fault=None,
        query="Why?",
        answer="因为。",
        verdict=verdict,
        candidates=[{"answer": "因为。", "kind": verdict.kind}],
        charter="hash",
    )


def test_a_call_comes_back_as_it_was_recorded_after_a_reopening(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert ledger.reply("x", "actor", ASK) is None
    ledger.record_call("x", "actor", ASK, REPLY, model="m", family="f")
    ledger.record_call("x", "actor/1", ASK, REPLY, model="m", family="f")
    ledger.close()
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.sqlite"]
    again = Ledger(tmp_path / "ledger.sqlite")
    assert again.reply("x", "actor", ASK) == REPLY
    assert again.reply("x", "critic", ASK) is None
    assert again.tokens() == {"actor": 4}
    with pytest.raises(sqlite3.IntegrityError):
        again.record_call("x", "actor", ASK, REPLY, model="m", family="f")


def test_a_call_that_was_asked_otherwise_is_refused(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.record_call("x", "actor", ASK, REPLY, model="m", family="f")
    for other in (
        Ask("x/actor", ({"role": "user", "content": "为何?"},), 9),
        Ask("x/actor", ASK.messages, 9, json_schema={"type": "object"}),
    ):
        with pytest.raises(UserError, match="x/actor was asked with another prompt"):
            ledger.reply("x", "actor", other)


def test_a_file_that_is_no_ledger_is_refused_by_name(tmp_path):
    path = tmp_path / "ledger.sqlite"
    path.write_text("this is a text file, and a long one " * 50, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        Ledger(path)
    assert str(caught.value).startswith(f"{path}: not a ledger (")


def test_records_made_together_are_all_there_or_none(tmp_path, charter, styles):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    first, second = plan(charter, styles, ("en",), 2, 0)
    taken = Verdict("accepted", "", 5)
    with pytest.raises(sqlite3.IntegrityError), ledger.together():
        [record(ledger, attempt, taken) for attempt in (first, first)]
    assert list(ledger.attempts()) == []
    with ledger.together():
        record(ledger, second, Verdict("unscored", "critic: length"))
        record(ledger, first, Verdict("accepted", "", 5))
    decided = list(Ledger(tmp_path / "ledger.sqlite").attempts())
    assert [each["id"] for each in decided] == [first.id, second.id]
    assert decided[0]["candidates"] == [{"answer": "因为。", "kind": "accepted"}]
    assert (decided[1]["kind"], decided[1]["score"]) == ("unscored", None)
