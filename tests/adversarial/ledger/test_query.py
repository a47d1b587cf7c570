"""Queries by any field: SQL finds the same attempts as a loop over all of them."""

import operator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.adversarial.attempts import attempt, call, decide
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.ledger.query import FIELDS, Condition, attempt_with_calls, attempts, counts
from vcjax.adversarial.ledger.schema import opened_to_read
from vcjax.core.errors import UserError
from vcjax.roles.role import Reply
from vcjax.roles.verdict import Verdict

COMPARED = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "~": lambda attempt_with_calls, part: part in str(attempt_with_calls),
}
OWN = {
    "kind": ["accepted", "rejected", "unscored", "", "ac", "Accepted"],
    "reason": ["", "critic: score 1", "score", "critic: timeout"],
    "score": ["", "0", "1", "3.5", "5"],
    "attacker_fault": ["", "not a question", "asked"],
    "lang": ["en", "zh"],
    "number": ["0", "5", "1e1"],
    "query": ["?", "为何 3?", "'; DROP TABLE attempts; --"],
    "answer": ["", "因为。", "So."],
    "tokens": ["0", "4"],
}
OF_CALLS = {
    "outcome": ["ok", "timeout", ""],
    "stage": ["critic/0", "actor", "attacker"],
    "text": ["", "x", "四。"],
    "call.tokens": ["0", "2", "3"],
    "model": ["m", "n"],
}


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """Twelve attempts of every kind, two of them without calls, and calls without an attempt."""
    ends = [
        (Verdict("accepted", "", 5), "因为。", None),
        (Verdict("rejected", "critic: score 1", 1), "So.", "asked before"),
        (Verdict("unscored", "critic: timeout"), "So.", None),
        (Verdict("rejected", "attacker: not a question"), None, "not a question"),
    ]
    replies = [Reply("x", "stop", 4, 2), Reply.failed("timeout"), Reply("四。", "length", 4, 3)]
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    with Ledger(path) as ledger:
        for number in range(12):
            planned = attempt(number)
            verdict, answer, fault = ends[number % 4]
            for n, stage in enumerate(("attacker", "actor/0", "critic/0")[: number % 6]):
                call(ledger, planned.id, stage, replies[(number + n) % 3])
            query = f"为何 {number}?"
            decide(
                ledger,
                planned,
                verdict=verdict,
                answer=answer,
                attacker_fault=fault,
                query=query,
            )
        call(ledger, "undecided", "attacker")
    return path


def met(value, condition) -> bool:
    """What a condition means, by Python."""
    if isinstance(condition.value, str):
        value = "" if value is None else value
    elif value is None:
        return False
    return COMPARED[condition.operator](value, condition.value)


def conditions_of(fields, most):
    """Lists of conditions; a number is compared with nothing only for being there or not."""
    texts = [
        f"{name}{compared}{value}"
        for name, values in fields.items()
        for value in values
        for compared in COMPARED
        if value or name != "score" or compared in ("=", "!=", "~")
    ]
    return st.lists(st.sampled_from(texts).map(Condition.parse), max_size=most)


@settings(max_examples=200)
@given(conditions_of(OWN, 3), conditions_of(OF_CALLS, 2))
def test_what_is_found_is_what_meets_all_conditions(path, own, of_calls):
    with opened_to_read(path) as connection:
        everything = [attempt_with_calls(connection, row["id"]) for row in attempts(connection)]
        found = [row["id"] for row in attempts(connection, [*own, *of_calls])]
        (counted,) = counts(connection, [], [*own, *of_calls])
        by_kind = counts(connection, ["kind"], [*own, *of_calls])
    expected = [
        row["id"]
        for row in everything
        if all(met(row[each.field], each) for each in own)
        and (
            not of_calls
            or any(
                all(met(one[each.field.removeprefix("call.")], each) for each in of_calls)
                for one in row["calls"]
            )
        )
    ]
    assert found == expected
    assert counted == {"attempts": len(found)}
    assert sum(row["attempts"] for row in by_kind) == len(found)


def test_every_field_can_be_asked_about(path):
    with opened_to_read(path) as connection:
        for field in FIELDS:
            matching, other = (
                counts(connection, [], [Condition.parse(f"{field}{compared}1")])[0]["attempts"]
                for compared in ("=", "!=")
            )
            assert 0 <= matching + other <= 2 * 12


def test_attempts_come_in_their_order_up_to_a_limit(path):
    with opened_to_read(path) as connection:
        assert [row["number"] for row in attempts(connection, limit=3)] == [0, 1, 2]
        assert len(list(attempts(connection, details=False))) == 12
        (row,) = attempts(connection, [Condition.parse("answer~因")], details=False, limit=1)
        assert "answer" not in row


def test_one_attempt_is_shown_whole_decided_or_not(path):
    with opened_to_read(path) as connection:
        assert attempt_with_calls(connection, "undecided").keys() == {"id", "calls"}
        assert attempt_with_calls(connection, attempt(0).id)["calls"] == []
        shown = attempt_with_calls(connection, attempt(5).id)
        assert [each["stage"] for each in shown["calls"]] == ["attacker", "actor/0", "critic/0"]
        assert shown["call_count"] == 3
        assert attempt_with_calls(connection, "nobody") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind", "--where=kind: write FIELD=VALUE"),
        ("=accepted", "write FIELD=VALUE"),
        ("knd=accepted", "knd: no such field; did you mean 'kind'?"),
        ("score>=high", "--where=score>=high: 'high' is no number"),
        ("score<", "'' is no number"),
        ("attempt=x", "attempt: no such field"),
    ],
)
def test_a_condition_that_says_nothing_is_refused(text, message):
    with pytest.raises(UserError) as caught:
        Condition.parse(text)
    assert message in str(caught.value)


def test_counting_by_an_unknown_field_is_refused(path):
    with (
        opened_to_read(path) as connection,
        pytest.raises(UserError, match=r"outcme: no such field"),
    ):
        counts(connection, ["outcme"])
