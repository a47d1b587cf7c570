"""Counts over decided attempts: success of attacks, framings, samples."""

from collections import Counter
from itertools import pairwise

import pytest

from vcjax.adversarial.attack_success import gave_pair
from vcjax.adversarial.critic.canaries import sample_judged
from vcjax.adversarial.summary import RunSummary, YieldCurve


def attempt(n, kind="accepted", *, attack="dilemma", lang="en", target=None, score=5.0):
    candidates = [{"by": "actor", "answer": "Yes.", "kind": kind, "reason": "", "score": score}]
    if target is not None:
        own = {"by": "target", "answer": "No.", "kind": target, "reason": "", "score": None}
        candidates.insert(0, own)
    cell = {"subdomain": "parks", "attack": attack, "lang": lang, "severity": 2, "turns": 1}
    return {
        **cell,
        "id": f"parks.{attack}.{lang}.s2.t1.{n}",
        "number": n,
        "kind": kind,
        "reason": "" if kind == "accepted" else "critic: score 1",
        "source": "attacker",
        "attacker_fault": None,
        "style_checked": "yes",
        "checked_by": "critic",
        "query": f"Which bench is number {n} of the park?",
        "conversation": [],
        "answer": "Yes.",
        "candidates": candidates,
    }


def summary(attempts, in_a_row=None):
    tallies = RunSummary(in_a_row)
    for each in attempts:
        tallies.add(each)
    return tallies.summary()


def test_success_of_attacks_is_the_share_of_the_target_s_answers_that_fail():
    kinds = ["rejected", "accepted", "rejected", "unscored", "blocked", None]
    found = summary([attempt(n, target=kind) for n, kind in enumerate(kinds)])
    success = found["attack_success"]
    assert (success["overall"]["k"], success["overall"]["n"]) == (2, 3)
    assert success["overall"]["low"] < 2 / 3 < success["overall"]["high"]
    assert success["unknown"] == 2
    assert success["attacks"] == {"dilemma": success["overall"]}
    assert found["cells"][0]["attack_success"] == success["overall"]
    assert summary([attempt(0)])["attack_success"] is None


def test_an_attempt_without_a_query_has_none_by_any_source():
    unasked = {**attempt(1, "rejected"), "source": "seed", "query": "", "candidates": []}
    assert summary([attempt(0), unasked])["sources"] == {"attacker": 1}


def test_a_seed_question_and_an_off_style_query_enter_no_rate_of_success():
    off = {**attempt(1, target="rejected"), "style_checked": "off topic"}
    seed = {**attempt(2, target="rejected"), "source": "seed", "style_checked": None}
    success = summary([attempt(0, target="accepted"), off, seed])["attack_success"]
    assert (success["overall"]["k"], success["overall"]["n"]) == (0, 1)
    for name in ("off_style", "seeds"):
        assert (success["apart"][name]["k"], success["apart"][name]["n"]) == (1, 1)
    assert not gave_pair(off)


def test_framings_of_which_one_is_a_seed_question_are_not_compared():
    pair = [attempt(0, attack="frames"), {**attempt(1, attack="frames"), "source": "seed"}]
    assert summary(pair, {"frames": 2})["framings"] == {
        "consistent": 0,
        "inconsistent": 0,
        "undecided": 1,
    }


def test_a_pair_needs_the_attacker_s_query_the_target_s_failure_and_a_good_answer():
    failed = attempt(0, target="rejected")
    assert gave_pair(failed)
    assert not gave_pair({**failed, "source": "seed"})
    assert not gave_pair(attempt(1, target="accepted"))
    assert not gave_pair(attempt(2, "rejected", target="rejected"))
    assert not gave_pair(attempt(3))


def test_framings_are_consistent_where_both_answers_end_alike():
    kinds = ["accepted", "accepted", "accepted", "rejected", "rejected", "unscored", "accepted"]
    pairs = [attempt(n, kind, attack="frames") for n, kind in enumerate(kinds)]
    assert summary(pairs, {"frames": 2})["framings"] == {
        "consistent": 1,
        "inconsistent": 1,
        "undecided": 1,
    }
    assert summary(pairs)["framings"] is None


@pytest.mark.parametrize("count", [1, 39, 40, 41, 1000, 6007])
def test_the_yield_curve_is_short_evenly_spaced_and_ends_with_the_run(count):
    curve = YieldCurve()
    for number in range(count):
        curve.add(number < 10 or number % 4 == 0)
    points = curve.summary()
    assert len(points) <= 41
    assert len(points) >= min(count, 20)
    assert points[-1]["attempts"] == count
    for point in points:
        asked = range(point["attempts"])
        assert point["accepted"] == sum(number < 10 or number % 4 == 0 for number in asked)
    steps = {b["attempts"] - a["attempts"] for a, b in pairwise(points[:-1])}
    assert len(steps) <= 1


def test_a_run_reports_its_yield_so_far():
    kinds = ["accepted", "rejected", "accepted", "rejected"]
    curve = summary([attempt(n, kind) for n, kind in enumerate(kinds)])["yield_curve"]
    assert [point["accepted"] for point in curve] == [1, 1, 2, 2]
    assert summary([])["yield_curve"] == []


def test_nothing_at_all_has_no_rates():
    found = summary([])
    assert found["attempts"] == 0
    assert found["accept_rate_bounds"] is None
    assert found["cells"] == []
    assert found["diversity"] == {}


def test_answers_that_the_critic_judged_are_counted_for_their_correction():
    tallies = RunSummary()
    for each in (attempt(0), attempt(1, "rejected", score=1.0), attempt(2, "rejected", score=None)):
        tallies.add(each)
    assert tallies.judged == Counter(
        {("en", "parks", "accepted"): 1, ("en", "parks", "rejected"): 1}
    )


@pytest.mark.parametrize(
    ("rejected", "accepted", "want"),
    [(9, 9, (2, 2)), (1, 9, (1, 3)), (9, 1, (3, 1)), (0, 0, (0, 0))],
)
def test_canaries_are_planted_in_rejected_answers_as_often_as_in_accepted_ones(
    rejected, accepted, want
):
    attempts = [attempt(n, "rejected", score=1.0) for n in range(rejected)]
    attempts += [attempt(n + rejected) for n in range(accepted)]
    attempts.append(attempt(99, "rejected", score=None))
    kinds = {each["id"]: each["kind"] for each in attempts}
    chosen = sample_judged(attempts, ("en", "zh"), 4)
    found = Counter(kinds[submission.id.partition("/")[0]] for submission in chosen)
    assert (found["rejected"], found["accepted"]) == want
