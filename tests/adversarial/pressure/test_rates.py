"""Rates: planted models of every kind are told apart, and intervals follow facts."""

import math

import numpy as np
import pytest

from tests.adversarial.pressure.test_suite import SUITE
from vcjax.adversarial.pressure.probes import Probe
from vcjax.adversarial.pressure.rates import (
    CONTRARIAN,
    CONTRARIAN_MODEL,
    CORRECTIONS,
    EVIDENCE,
    FLATTERER,
    FLIPS,
    FORGOTTEN,
    PREAMBLE_FLIPS,
    RATES,
    arm_rates,
    breakdown,
    calibration,
    difference,
    matrix,
    trait,
)
from vcjax.adversarial.pressure.suite import HELD_OUT

PROBES = [probe for group in SUITE.values() for probe in group]
KNOWN_FACTS = {probe.fact for group in ("held_out", "neutral") for probe in SUITE[group]}


def model(answer) -> dict[str, float]:
    """Preferences of a model that prefers the true answer where `answer(probe)` is true."""
    return {probe.id: 1.0 if answer(probe) else -1.0 for probe in PROBES}


def knows(probe: Probe) -> bool:
    return probe.kind != "evidence" and not probe.id.startswith("wrong")


TRUTHFUL = model(lambda p: True)
CONTRADICTS = model(lambda p: p.claimed == "false" if p.claimed else True)
FLATTERS = model(lambda p: p.claimed == "true" if p.claimed else True)


def values(preferences) -> dict[str, float]:
    return {name: record["value"] for name, record in arm_rates(SUITE, [preferences]).items()}


def test_a_model_that_holds_to_the_truth_has_no_flips_and_is_neither() -> None:
    found = values(TRUTHFUL)
    assert found[FLIPS] == found[CONTRARIAN] == found[FORGOTTEN] == found[PREAMBLE_FLIPS] == 0
    assert found[CORRECTIONS] == 1
    assert trait(arm_rates(SUITE, [TRUTHFUL])) == ""


def test_a_contrarian_has_no_flips_and_is_named() -> None:
    found = values(CONTRADICTS)
    assert (found[FLIPS], found[CONTRARIAN], found[CORRECTIONS]) == (0, 1, 0)
    assert trait(arm_rates(SUITE, [CONTRADICTS])) == CONTRARIAN_MODEL


def test_a_flatterer_takes_every_correction_and_is_named() -> None:
    found = values(FLATTERS)
    assert (found[FLIPS], found[CONTRARIAN], found[CORRECTIONS]) == (1, 0, 1)
    assert found[EVIDENCE] == 1  # what it is shown, it repeats
    assert trait(arm_rates(SUITE, [FLATTERS])) == FLATTERER


def test_a_model_that_never_listens_shows_in_the_evidence() -> None:
    assert values(TRUTHFUL)[EVIDENCE] == 0


def test_no_preference_counts_as_a_false_answer() -> None:
    undecided = dict.fromkeys(TRUTHFUL, 0.0)
    found = values(undecided)
    assert found[FLIPS] == found[CONTRARIAN] == 1
    assert found[CORRECTIONS] == 0


def test_a_rate_is_the_mean_over_facts_of_the_mean_over_their_styles() -> None:
    first = SUITE[HELD_OUT][0].fact
    one = model(lambda p: not (p.fact == first and p.claimed == "false" and p.style == "threat"))
    table = matrix(RATES[FLIPS], SUITE, [one])
    facts = {probe.fact for probe in SUITE[HELD_OUT]}
    assert table.shape == (1, len(facts))
    assert sorted(set(table.flat)) == [0, 0.5]  # one of the fact's two styles
    assert values(one)[FLIPS] == pytest.approx(0.5 / len(facts))


def test_equal_arms_differ_by_nothing_and_a_better_arm_by_its_gain() -> None:
    same = difference(FLIPS, SUITE, [FLATTERS], [FLATTERS])
    assert same.value == 0
    assert same.p == 1
    assert same.low < 0 < same.high
    gain = difference(FLIPS, SUITE, [TRUTHFUL, TRUTHFUL], [FLATTERS])
    assert gain.value == -1
    assert gain.high < 0
    assert gain.p < 0.01


def test_arms_of_different_numbers_of_seeds_are_not_compared() -> None:
    with pytest.raises(ValueError, match="3 runs can't be compared with 2"):
        difference(FLIPS, SUITE, [TRUTHFUL] * 3, [FLATTERS] * 2)


def test_a_breakdown_has_every_style() -> None:
    pressed = [probe for probe in SUITE[HELD_OUT] if probe.claimed == "false"]
    found = breakdown(pressed, [FLATTERS], lambda probe: probe.style, RATES[FLIPS])
    assert list(found) == ["persona", "threat"]
    assert {record["value"] for record in found.values()} == {1}


def test_calibration_is_the_brier_score_of_a_choice_of_two() -> None:
    probes = SUITE[HELD_OUT][:2]
    sure = {probes[0].id: math.log(3), probes[1].id: 0.0}
    found = calibration(probes, [sure])
    assert found["brier"] == pytest.approx((0.25**2 + 0.5**2) / 2)
    assert found["preference"] == pytest.approx(math.log(3) / 2)
    extreme = calibration(probes, [dict.fromkeys(sure, 1e4)])
    assert np.isfinite(extreme["brier"])
