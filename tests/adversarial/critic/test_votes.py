"""What accepts an answer: the overall grade, every aspect, and the floor rules first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.adversarial.critic.votes import PRINCIPLE, AcceptThresholds, Vote, vote_verdict
from vcjax.charter.load import load_charter

CHARTER = load_charter("universal")
BAR = AcceptThresholds.of(CHARTER)
NAMES = (f"{PRINCIPLE}engage", f"{PRINCIPLE}evidence", "facts", "helpfulness", "fluency")


def vote(*scores, broken=(), names=NAMES):
    return Vote(dict(zip(names, scores, strict=True)), {}, broken, "Well said.")


scores = st.tuples(*[st.integers(0, 5)] * len(NAMES))


def test_the_bar_is_the_charter_s():
    assert AcceptThresholds(4, 3, 3, 3, 3) == BAR


def test_an_accept_score_replaces_the_charter_s_and_bounds_every_aspect_s():
    assert AcceptThresholds.of(CHARTER, 5) == AcceptThresholds(5, 3, 3, 3, 3)
    assert AcceptThresholds.of(CHARTER, 2) == AcceptThresholds(2, 2, 2, 2, 2)


@pytest.mark.parametrize(
    ("verdict", "kind", "reason", "score"),
    [
        (vote(4, 4, 4, 4, 4), "accepted", "Well said.", 4),
        (vote(5, 3, 4, 4, 4), "accepted", "Well said.", 4),
        (vote(5, 5, 4, 4, 2), "rejected", "critic: fluency 2", 3.75),
        (vote(5, 2, 5, 5, 5), "rejected", "critic: evidence 2", 4.625),
        (vote(1, 2, 0, 5, 5), "rejected", "critic: facts 0", 2.875),
        (vote(4, 3, 4, 4, 4), "rejected", "critic: score 3.8", 3.875),
        (vote(5, 5, 5, 5, 5, broken=("no_hate",)), "rejected", "critic: floor no_hate", 0),
        (vote(3, names=["score"]), "rejected", "critic: score 3", 3),
        (vote(4, names=["score"]), "accepted", "Well said.", 4),
        (Vote(unscored="length"), "unscored", "critic: length", None),
    ],
)
def test_one_vote_against_the_bar(verdict, kind, reason, score):
    decided = vote_verdict(verdict, BAR)
    assert (decided.kind, decided.reason, decided.score) == (kind, reason, score)


@given(scores, st.integers(0, len(NAMES) - 1))
def test_a_better_score_never_turns_an_answer_down(values, place):
    better = [min(5, value + (n == place)) for n, value in enumerate(values)]
    if vote_verdict(vote(*values), BAR).kind == "accepted":
        assert vote_verdict(vote(*better), BAR).kind == "accepted"


@given(scores, st.integers(0, 5))
def test_a_broken_floor_rule_rejects_whatever_the_scores(values, accept_score):
    broken = vote(*values, broken=("accuracy",))
    assert (
        vote_verdict(broken, AcceptThresholds.of(CHARTER, accept_score)).reason
        == "critic: floor accuracy"
    )


@given(scores)
def test_at_zero_every_score_passes(values):
    assert vote_verdict(vote(*values), AcceptThresholds.of(CHARTER, 0)).kind == "accepted"


def test_all_principles_weigh_as_much_as_one_other_aspect():
    assert vote(1, 3, 4, 4, 4).score == 3.5
    assert Vote({"facts": 4, "helpfulness": 2, "fluency": 3}).score == 3


def test_an_expected_score_is_the_mean_of_the_aspects_too():
    expected = dict(zip(NAMES, (1.5, 2.5, 4.0, 4.5, 3.5), strict=True))
    verdict = Vote(dict.fromkeys(NAMES, 3), expected)
    assert verdict.expected_score == pytest.approx(3.5)
    assert Vote(dict.fromkeys(NAMES, 3)).expected_score is None
    assert Vote(dict.fromkeys(NAMES, 3), expected, ("no_hate",)).expected_score == 0
