"""Judges with planted relations to each other and to people."""

import numpy as np
import pytest

from vcjax.evaluation.judging.reliability import agreement


def records(scores, families=None):
    """Score records of judges by name; NaN is an unscored answer, two answers a question."""
    return [
        {
            "id": f"{place // 2:02}-{('en', 'zh')[place % 2]}",
            "answer_hash": "",
            "parallel_id": f"{place // 2:02}",
            "domain": "technology",
            "lang": ("en", "zh")[place % 2],
            "judge": name,
            "family": (families or {}).get(name, "other"),
            "score": None if np.isnan(score) else float(score),
            "unscored": "malformed" if np.isnan(score) else None,
        }
        for name, own in scores.items()
        for place, score in enumerate(own)
    ]


@pytest.fixture(scope="module")
def truth():
    return np.random.default_rng(0).integers(0, 6, 60).astype(float)


def test_one_verdict_on_each_answer_has_no_agreement(truth):
    assert agreement(records({"a": truth})) is None


def test_judges_that_are_one_agree_wholly(truth):
    found = agreement(records({"a": truth, "b": truth.copy()}))
    (pair,) = found["pairs"]
    for name in ("kappa", "kappa_quadratic", "spearman"):
        assert pair[name]["value"] == pytest.approx(1)
        assert pair[name]["low"] < 1
    assert pair["same"]["rate"] == 1
    assert pair["difference"]["value"] == pair["distance"]["value"] == 0
    assert found["all"]["fleiss"] == pytest.approx(1)
    assert found["all"]["icc"]["value"] == pytest.approx(1)
    assert found["all"]["contested"] == []
    assert found["errors"] is None


def test_a_planted_bias_against_people_is_found_and_a_shared_one_costs_judges(truth):
    draws = np.random.default_rng(1)
    shared = draws.normal(0, 1, 60)
    scores = {"ann": truth, "bob": truth.copy()}
    for name, bias in (("a", 0.0), ("b", 0.8)):
        scores[name] = np.clip(truth + shared + bias + draws.normal(0, 0.1, 60), 0, 5)
    found = agreement(records(scores, {"ann": "human", "bob": "human"}))
    errors = found["errors"]
    assert found["people"] == ["ann", "bob"]
    assert set(errors["judges"]) == {"a", "b"}
    assert errors["judges"]["b"]["bias"]["low"] > 0
    a = errors["judges"]["a"]["bias"]
    assert a["low"] < 0 < a["high"]
    # Two judges with nearly the same errors are worth little more than one.
    assert errors["common"] > 0.7
    assert 1 <= errors["effective"] < 1.25


def test_gaps_and_constant_judges_leave_what_is_left(truth):
    gaps = truth.copy()
    gaps[::3] = np.nan
    found = agreement(records({"a": truth, "b": gaps, "c": np.full(60, 3.0)}))
    pairs = {tuple(pair["judges"]): pair for pair in found["pairs"]}
    assert pairs["a", "b"]["n"] == 40
    assert pairs["a", "b"]["kappa"]["value"] == pytest.approx(1)
    constant = pairs["a", "c"]
    assert constant["kappa"]["value"] == pytest.approx(0)
    assert constant["spearman"]["value"] is None
    assert constant["z"] is None
    assert found["all"]["n"] == 40
    nothing = agreement(records({"a": truth, "b": np.full(60, np.nan)}))
    assert nothing["pairs"][0]["n"] == nothing["all"]["n"] == 0
    assert nothing["all"]["alpha"] is None


def test_the_answers_on_which_judges_are_furthest_apart_are_named(truth):
    other = truth.copy()
    place = int(np.flatnonzero(truth == 0)[0])
    other[place] = 5
    contested = agreement(records({"a": truth, "b": other}))["all"]["contested"]
    assert contested == [f"{place // 2:02}-{('en', 'zh')[place % 2]}"]
