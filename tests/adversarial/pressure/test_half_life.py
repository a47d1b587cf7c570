"""What is left of a gain, and when half of it is gone: by hand, in its bounds, and in words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.adversarial.pressure.half_life import gain_record, half_life
from vcjax.report.pressure.half_life import half_life_lines

STEPS = [0, 4, 8, 16, 32]


def facts(*shares: float, n: int = 100) -> np.ndarray:
    """Gains of facts of which these shares are still gained at each checkpoint."""
    return np.stack([(np.arange(n) < share * n).astype(float) for share in shares])


@pytest.mark.parametrize(
    ("shares", "steps"),
    [
        ((0.8, 0.6, 0.4, 0.2, 0.0), 8),  # measured
        ((0.8, 0.8, 0.8, 0.3, 0.0), 8 + 8 * 0.4 / 0.5),  # interpolated
        ((0.8, 0.0, 0.0, 0.0, 0.0), 2),  # gone at once
        ((0.8, 0.3, 0.7, 0.7, 0.7), 4 * 0.4 / 0.5),  # the first time counts
        ((0.8, 0.7, 0.7, 0.6, 0.5), None),  # beyond the last step
    ],
)
def test_the_half_life_of_a_curve(shares, steps):
    found = half_life(STEPS, facts(*shares), resamples=99)
    assert found["shown"]
    assert found["value"] == (steps if steps is None else pytest.approx(steps))
    assert (found["n"], found["last"]) == (100, 32)


def test_a_gain_that_is_not_shown_has_no_half_life():
    for shares in ((0.0,) * 5, (0.02, 0.01, 0.0, 0.0, 0.0)):
        found = half_life(STEPS, facts(*shares), resamples=99)
        assert not found["shown"]
        assert found["value"] is found["low"] is found["high"] is None
    worse = half_life(STEPS, -facts(0.8, 0.6, 0.4, 0.2, 0.0), resamples=99)
    assert not worse["shown"]


@given(
    st.lists(st.floats(0.0, 1.0), min_size=5, max_size=5),
    st.floats(0.1, 10.0),
    st.integers(0, 99),
)
def test_the_interval_has_the_estimate_in_it_and_scales_with_time(shares, unit, seed):
    gains = facts(*shares, n=40)
    found = half_life(STEPS, gains, seed=seed, resamples=199)
    if found["value"] is None:
        return
    assert found["low"] is not None
    assert found["low"] <= found["value"] + 1e-9
    assert found["high"] is None or found["value"] <= found["high"] + 1e-9
    scaled = half_life([unit * step for step in STEPS], gains, seed=seed, resamples=199)
    assert scaled["value"] == pytest.approx(unit * found["value"])


def test_more_facts_know_it_better():
    widths = []
    for n in (50, 800):
        found = half_life(STEPS, facts(0.8, 0.6, 0.4, 0.2, 0.0, n=n), resamples=499)
        widths.append(found["high"] - found["low"])
    assert widths[1] < widths[0] / 2


def test_mistakes_are_refused():
    with pytest.raises(ValueError, match="5 checkpoints, but 4 rows"):
        half_life(STEPS, facts(0.8, 0.6, 0.4, 0.2))


def test_each_half_life_is_a_sentence():
    def over(*shares: float) -> dict:
        gains = facts(*shares)
        return {
            "half_life": half_life(STEPS, gains, resamples=199),
            "gains": [gain_record(each) for each in gains],
        }

    found = {
        "steps": STEPS,
        "pairs": 64,
        "learning_rate": 3e-4,
        "clean": "clean",
        "arms": {
            "adversarial": {
                "en": {
                    "ordinary": {"base": over(0.8, 0.8, 0.8, 0.7, 0.7)},
                    "opposing": {
                        "base": over(0.8, 0.6, 0.4, 0.2, 0.0),
                        "clean": over(0.0, 0.0, 0.0, 0.0, 0.0),
                    },
                }
            }
        },
    }
    left, gone, none = half_life_lines(found)
    assert left.startswith("Adversarial, English, on 64 ordinary examples: more than half of its")
    assert "is left after 32 steps" in left
    assert "half of its gain over base is gone after 8 steps [" in gone
    assert none.endswith("no gain over clean is shown that could be lost.")
