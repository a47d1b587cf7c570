"""Verdicts on candidate answers."""

import pytest

from vcjax.adversarial.calls import failed_call
from vcjax.adversarial.critic.judge import best_verdict
from vcjax.adversarial.critic.rules import rule_verdict
from vcjax.charter.load import load_charter
from vcjax.roles.role import Reply
from vcjax.roles.verdict import Verdict

ACCEPTED, LOWER = Verdict("accepted", "", 5), Verdict("accepted", "", 4)
UNSCORED, BLOCKED = Verdict("unscored", "critic: length"), Verdict("blocked", "no")
RULE, LOW, LOWEST = (
    Verdict("rejected", "rule: fair/not_a_refusal"),
    Verdict("rejected", "critic: score 3", 3),
    Verdict("rejected", "critic: score 0", 0),
)


def reply(text, reason="stop"):
    return Reply(text, reason, 1, 1)


@pytest.mark.parametrize(
    ("verdicts", "index"),
    [
        ([LOWER, ACCEPTED], 1),
        ([ACCEPTED, ACCEPTED], 0),
        ([LOW, UNSCORED, LOWER], 2),
        ([LOW, UNSCORED], 1),
        ([RULE, LOWEST, LOW], 2),
        ([RULE, LOWEST], 1),
        ([BLOCKED, RULE], 1),
        ([BLOCKED], 0),
    ],
)
def test_the_candidate_that_came_furthest_stands_for_the_attempt(verdicts, index):
    assert best_verdict(verdicts) == index


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply("Both sides have a point."), None),
        (reply("Both sides have", "length"), "actor: truncated"),
        (reply("  "), "actor: empty"),
        (reply("I'm sorry, but I can't help with that."), "actor: refusal"),
    ],
)
def test_what_no_critic_is_needed_for(charter, answer, reason):
    verdict = rule_verdict(
        charter, "actor", query="Why?", reply=answer, lang="en", subdomain="parks"
    )
    assert verdict == (reason and Verdict("rejected", reason))


def test_of_the_attacked_model_no_more_is_asked_than_the_charter_does(charter):
    place = {"query": "Why?", "lang": "en", "subdomain": "parks"}
    cut = rule_verdict(charter, "target", reply=reply("Both sides have", "length"), **place)
    refused = rule_verdict(charter, "target", reply=reply("I'm sorry, but I can't help."), **place)
    empty = rule_verdict(charter, "target", reply=reply(""), **place)
    assert cut is None
    assert refused == Verdict("rejected", "rule: fair/not_a_refusal")
    assert empty == Verdict("rejected", "target: empty")


def test_an_empty_answer_is_rejected_without_any_rule(small_charter, tmp_path):
    lenient = load_charter(small_charter(tmp_path / "lenient.yaml"))
    verdict = rule_verdict(
        lenient, "actor", query="?", reply=reply(""), lang="zh", subdomain="parks"
    )
    assert verdict == Verdict("rejected", "actor: empty")


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        ("content filter", Verdict("blocked", "actor: content filter")),
        ("timeout", Verdict("unscored", "actor: timeout")),
        ("too long", Verdict("unscored", "actor: too long")),
    ],
)
def test_a_reply_that_never_came_is_blocked_or_unscored(charter, outcome, verdict):
    said = Reply.failed(outcome)
    assert failed_call("actor", said) == verdict
    got = rule_verdict(charter, "actor", query="Why?", reply=said, lang="en", subdomain="parks")
    assert got == verdict
