"""Verdicts on candidate answers."""

import json

import pytest

from vcjax.adversarial.candidates import after_critic, before_critic, best
from vcjax.adversarial.verdict import Verdict
from vcjax.charter.load import load_charter
from vcjax.roles.role import Reply

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
    assert best(verdicts) == index


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply("Both sides have a point."), None),
        (reply("Both sides have", "length"), "actor: cut by length"),
        (reply("  "), "actor: empty"),
        (reply("I'm sorry, but I can't help with that."), "rule: fair/not_a_refusal"),
    ],
)
def test_what_no_critic_is_needed_for(charter, answer, reason):
    verdict = before_critic(charter, query="Why?", reply=answer, lang="en", subdomain="parks")
    assert verdict == (reason and Verdict("rejected", reason))


def test_an_empty_answer_is_rejected_without_any_rule(small_charter, tmp_path):
    lenient = load_charter(small_charter(tmp_path / "lenient.yaml"))
    verdict = before_critic(lenient, query="?", reply=reply(""), lang="zh", subdomain="parks")
    assert verdict == Verdict("rejected", "actor: empty")


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (reply(json.dumps({"reason": "Fair.", "score": 4})), Verdict("accepted", "Fair.", 4)),
        (
            reply(json.dumps({"reason": "One-sided.", "score": 3})),
            Verdict("rejected", "critic: score 3", 3),
        ),
        (reply("Five out of five."), Verdict("unscored", "critic: malformed")),
        (reply('{"score": 5}'), Verdict("unscored", "critic: schema")),
        (
            reply(json.dumps({"reason": "Great.", "score": 9})),
            Verdict("unscored", "critic: out_of_range"),
        ),
        (reply('{"reason": "Gr', "length"), Verdict("unscored", "critic: length")),
    ],
)
def test_the_critic_s_word_against_the_charter_s_threshold(charter, said, verdict):
    assert after_critic(said, charter.accept_score) == verdict
