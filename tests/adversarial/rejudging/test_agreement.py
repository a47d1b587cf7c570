"""Two Critics on the same answers: what is known to differ is found, and nothing else."""

import json

import numpy as np
import pytest

from vcjax.adversarial.critic.panel import aggregate
from vcjax.adversarial.critic.votes import AcceptThresholds, Submission, Vote
from vcjax.adversarial.rejudging.agreement import compare_critics
from vcjax.adversarial.rejudging.judged import Decision, JudgedAnswer, decision
from vcjax.stats.agreement import cohen_kappa, icc

FORM = {"facts": 5, "helpfulness": 5, "fluency": 5}
THRESHOLDS = AcceptThresholds(4, 3, 4, 3, 3)


def decided(scores: dict[str, int] | None, why: str = "timeout") -> Decision:
    if scores is None:
        return Decision("unscored", why)
    low = [name for name, score in scores.items() if score < 3]
    kind, reason = ("rejected", low[0]) if low else ("accepted", "accepted")
    return Decision(kind, reason, float(np.mean(list(scores.values()))), scores)


def answers(old: list[Decision], per_query: int = 2) -> list[JudgedAnswer]:
    return [
        JudgedAnswer(
            f"a{n // per_query}",
            "actor",
            each.kind == "accepted",
            Submission(
                f"a{n // per_query}/{n % per_query}", "en" if n % 4 < 2 else "zh", "Q?", "A."
            ),
            each,
        )
        for n, each in enumerate(old)
    ]


def aspects(random: np.random.Generator, n: int) -> list[dict[str, int]]:
    drawn = random.integers(0, 6, (n, 2))
    return [{"facts": int(a), "fluency": int(b)} for a, b in drawn]


def test_a_critic_beside_itself_agrees_wholly_and_moves_nothing():
    given = list(map(decided, aspects(np.random.default_rng(0), 80)))
    found = compare_critics(answers(given), given)
    assert found["agreement"]["kappa"]["value"] == pytest.approx(1)
    assert found["agreement"]["same"]["value"] == 1
    assert found["accepted"]["difference"]["value"] == 0
    for name in ("facts", "fluency"):
        assert found["criteria"][name]["kappa"]["value"] == pytest.approx(1)
        assert found["criteria"][name]["icc"]["value"] == pytest.approx(1)
    assert (
        found["exported"]["k"]
        == found["exported"]["n"]
        == sum(each.kind == "accepted" for each in given)
    )
    assert all(old == new for old, row in found["reasons"].items() for new in row)


def test_coefficients_are_those_of_the_columns_and_one_careless_aspect_is_found():
    random = np.random.default_rng(1)
    old = aspects(random, 200)
    new = [{**each, "facts": int(random.integers(0, 6))} for each in old]
    found = compare_critics(answers(list(map(decided, old))), list(map(decided, new)))
    facts = [[each["facts"] for each in side] for side in (old, new)]
    kappa, correlation = found["criteria"]["facts"]["kappa"], found["criteria"]["facts"]["icc"]
    assert kappa["value"] == pytest.approx(cohen_kappa(*facts, "quadratic", list(range(6))))
    assert correlation["value"] == pytest.approx(icc(facts))
    assert kappa["low"] < 0 < kappa["high"]
    # On fluency they agree wholly, so that the bound is what a query that nobody saw may take away:
    # two answers of 200, at the greatest squared distance (25), whose weight among 100 queries has
    # the 97.5 % quantile 1 - 0.025^(1 / 100) = 0.036. By chance two scores are apart by twice their
    # variance, to which those two answers, half 0 and half 5, belong. That is about 1 - 0.9 / 6.
    weight = 1 - 0.025 ** (1 / 100)
    fluency = np.array([each["fluency"] for each in old])
    mean = (1 - weight) * fluency.mean() + weight * 2.5
    square = (1 - weight) * (fluency**2).mean() + weight * 12.5
    bound = 1 - weight * 25 / (2 * (square - mean**2))
    assert found["criteria"]["fluency"]["kappa"]["low"] == pytest.approx(bound, abs=0.01)
    assert set(found["languages"]) == {"en", "zh"}
    assert sum(each["answers"] for each in found["languages"].values()) == 200
    assert json.loads(json.dumps(found)) == found


def test_a_stricter_critic_is_seen_in_what_it_accepts_of_what_was_trained_on():
    old = [{"facts": 5, "fluency": 4}] * 30 + [{"facts": 1, "fluency": 4}] * 30
    new = [{"facts": 5 if n % 3 else 2, "fluency": 4} for n in range(30)] + old[30:]
    found = compare_critics(answers(list(map(decided, old))), list(map(decided, new)))
    assert (found["exported"]["k"], found["exported"]["n"]) == (20, 30)
    assert found["accepted"]["difference"]["high"] < 0
    assert found["decisions"]["accepted"] == {
        "accepted": 20, "rejected": 10, "unscored": 0, "blocked": 0
    }  # fmt: skip
    assert found["reasons"]["accepted"] == {"accepted": 20, "facts": 10}


def test_an_unscored_answer_counts_in_no_rate_but_in_the_agreement_of_all():
    old = list(map(decided, aspects(np.random.default_rng(2), 40)))
    new = [decided(None) if n % 2 else each for n, each in enumerate(old)]
    found = compare_critics(answers(old), new)
    assert found["agreement"]["same"]["n"] == found["score"]["n"] == 20
    assert found["agreement"]["kappa"]["value"] == pytest.approx(1)
    assert found["agreement"]["kappa_of_all"]["value"] < 0.6
    assert found["exported"]["undecided"] == sum(each.kind == "accepted" for each in old[1::2])
    nothing = compare_critics(answers(old), [decided(None)] * 40)
    assert nothing["agreement"]["kappa"]["value"] is None
    assert nothing["score"]["means"] == [None, None]


def test_answers_to_one_query_count_for_less_than_as_many_to_others():
    random = np.random.default_rng(3)
    old = [each for each in aspects(random, 20) for _ in range(5)]
    new = [
        each
        for query in old[::5]
        for each in [query if random.random() < 0.7 else {"facts": 0, "fluency": 0}] * 5
    ]
    both = list(map(decided, old)), list(map(decided, new))
    wide = compare_critics(answers(both[0], 5), both[1])["agreement"]["kappa"]
    narrow = compare_critics(answers(both[0], 1), both[1])["agreement"]["kappa"]
    assert wide["value"] == pytest.approx(narrow["value"])
    assert wide["high"] - wide["low"] > 1.3 * (narrow["high"] - narrow["low"])


@pytest.mark.parametrize(
    ("votes", "kind", "why"),
    [
        ([Vote({"principles/fair": 5, **FORM})], "accepted", "accepted"),
        ([Vote({"principles/fair": 1, **FORM})], "rejected", "fair"),
        ([Vote({"score": 2})], "rejected", "score"),
        ([Vote({"score": 5}, broken=("no_hatred",))], "rejected", "floor"),
        ([Vote(unscored="timeout")], "unscored", "timeout"),
        ([Vote({"score": 5}), Vote({"score": 2}), Vote({"score": 3})], "rejected", "score"),
    ],
)  # fmt: skip
def test_a_decision_is_read_from_the_votes_as_the_ledger_has_them(votes, kind, why):
    critics = [f"critic{n}" for n in range(len(votes))]
    verdict = aggregate(votes, THRESHOLDS, critics, "simple")
    record = json.loads(json.dumps({"kind": verdict.kind, "reason": verdict.reason,
                                    "detail": verdict.detail}))  # fmt: skip
    found = decision(record, THRESHOLDS)
    assert found is not None
    assert (found.kind, found.why, found.score) == (kind, why, verdict.score)
    # What a filter decided, though the Critic was asked, is not the Critic's decision.
    by_filter = {**record, "kind": "rejected", "reason": "actor: refusal"}
    assert decision(by_filter, THRESHOLDS) == found
    assert (
        decision({"kind": "rejected", "reason": "actor: empty", "detail": {}}, THRESHOLDS) is None
    )
