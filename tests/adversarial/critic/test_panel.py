"""Votes and panels: majority, median, and the disagreement that is recorded."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.adversarial.critic.panel import CriticPanel, aggregate, best_verdict
from vcjax.adversarial.critic.votes import AcceptThresholds, Submission, Vote
from vcjax.charter.load import load_charter
from vcjax.core.errors import UserError
from vcjax.roles.role import Reply
from vcjax.roles.verdict import Verdict

CHARTER = load_charter("universal")
THRESHOLDS = AcceptThresholds.of(CHARTER)
SUBMISSIONS = [
    Submission("a", "en", "Q?", "Good.", "gender"),
    Submission("b", "zh", "问？", "好。", "religion"),
]


def vote(score, *, expected=None, broken=()):
    if isinstance(score, str):
        return Vote(unscored=score)
    known = {} if expected is None else {"score": expected}
    return Vote({"score": score}, known, broken, f"Worth {score}.")


def verdict(*votes):
    return aggregate(votes, THRESHOLDS, [f"critic{n}" for n in range(len(votes))], "simple")


@pytest.mark.parametrize(
    ("scores", "kind", "reason", "score"),
    [
        ([5], "accepted", "Worth 5.", 5),
        ([5, 4, 0], "accepted", "Worth 5.", 4),
        ([5, 3, 3], "rejected", "critic: score 3", 3),
        ([5, 3, 2, 2], "rejected", "critic: score 2", 2.5),
        ([5, 2], "rejected", "critic: score 2", 3.5),
        ([5, 5, "length"], "accepted", "Worth 5.", 5),
        ([1, 2, "length"], "rejected", "critic: score 1", 1.5),
        ([5, 2, "length"], "unscored", "critic: length", 3.5),
        ([5, "schema", "length"], "unscored", "critic: schema", 5),
        (["timeout"], "unscored", "critic: timeout", None),
    ],
)
def test_the_majority_decides_and_the_median_scores(scores, kind, reason, score):
    decided = verdict(*map(vote, scores))
    assert (decided.kind, decided.reason, decided.score) == (kind, reason, score)


@given(st.lists(st.sampled_from([0, 3, 4, 5, "length"]), min_size=1, max_size=7))
def test_an_unscored_verdict_is_one_that_the_unread_votes_could_have_turned(scores):
    """Whatever the unread votes were, a decided verdict stays as it is."""
    ends = {
        verdict(*(vote(other if score == "length" else score) for score in scores)).kind
        for other in (0, 5)
    }
    decided = verdict(*map(vote, scores)).kind
    assert ends == {decided} if decided != "unscored" else len(ends) == 2


def test_disagreement_is_recorded():
    decided = verdict(
        vote(5, expected=4.5), vote(4, expected=4.0), vote(1, expected=1.5), vote("length"), vote(4)
    )
    assert decided.kind == "accepted"
    detail = decided.detail
    assert (detail["form"], detail["expected"], detail["spread"]) == ("simple", 4.0, 4)
    assert detail["dissent"] == pytest.approx(1 / 4)
    assert [v["critic"] for v in detail["votes"]] == [f"critic{n}" for n in range(5)]
    assert [v["kind"] for v in detail["votes"]] == [
        *("accepted", "accepted", "rejected", "unscored", "accepted")
    ]
    assert detail["votes"][2]["scores"] == {"score": 1}
    assert detail["votes"][3]["reason"] == "length"
    assert json.loads(json.dumps(detail)) == detail


def test_a_broken_floor_rule_is_one_vote_to_reject_and_stays_on_record():
    decided = verdict(vote(5), vote(5), vote(5, broken=("no_hate",)))
    assert (decided.kind, decided.score) == ("accepted", 5)
    assert decided.detail["votes"][2]["broken"] == ["no_hate"]
    assert verdict(vote(5, broken=("no_hate",))).reason == "critic: floor no_hate"


def test_no_votes_decide_nothing():
    with pytest.raises(ValueError, match="no votes"):
        aggregate([], THRESHOLDS, [], "full")


def test_every_critic_votes_on_every_answer_and_each_verdict_gets_its_own_replies():
    panel = CriticPanel(CHARTER, ["critic", "second"], votes=2)
    polled = []

    def poll(requests):
        polled.extend(requests)
        by_id = {submission.id: submission for submission in SUBMISSIONS}
        score = {"a": 5, "b": 2}
        forms = [
            panel.form.filled(CHARTER, by_id[request.submission], score[request.submission], "So.")
            for request in requests
        ]
        return [Reply(json.dumps(form), "stop", 1, 1) for form in forms]

    accepted, rejected = panel.judge(SUBMISSIONS, poll)
    assert (accepted.kind, accepted.score, rejected.kind) == ("accepted", 5, "rejected")
    assert [(each.submission, each.critic, each.vote) for each in polled] == [
        (id, critic, vote)
        for id in ("a", "b")
        for vote, critic in enumerate(["critic", "critic", "second", "second"])
    ]
    assert polled[0].messages == panel.form.messages(CHARTER, SUBMISSIONS[0])
    assert polled[4].json_schema == panel.form.schema(CHARTER, SUBMISSIONS[1])


def test_an_accept_score_of_zero_leaves_all_to_the_rules():
    panel = CriticPanel(CHARTER, form="simple", accept_score=0)
    lowest = Reply('{"reason": "Bad.", "score": 0}', "stop", 1, 1)
    assert panel.verdict(SUBMISSIONS[0], [lowest]).kind == "accepted"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"form": "ful"}, "critic_form: 'ful' is none of full, simple; did you mean 'full'?"),
        ({"votes": 0}, "1 critics with 0 votes"),
        ({"critics": []}, "0 critics"),
    ],
)
def test_a_panel_that_can_t_decide_is_the_user_s_mistake(changes, said):
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        CriticPanel(CHARTER, **changes)


ACCEPTED, LOWER = Verdict("accepted", "", 5), Verdict("accepted", "", 4)
UNSCORED, BLOCKED = Verdict("unscored", "critic: length"), Verdict("blocked", "no")
RULE, LOW, LOWEST = (
    Verdict("rejected", "rule: fair/not_a_refusal"),
    Verdict("rejected", "critic: score 3", 3),
    Verdict("rejected", "critic: score 0", 0),
)


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
def test_the_candidate_with_the_best_verdict_is_chosen_for_the_attempt(verdicts, index):
    assert best_verdict(verdicts) == index
