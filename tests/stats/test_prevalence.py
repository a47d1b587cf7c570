"""Rates corrected for a judge's errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.stats.intervals import Interval
from vcjax.stats.prevalence import Share, corrected_difference, corrected_rate

counts = st.integers(20, 300)


def share(rate, n):
    return Share(round(rate * n), n)


def test_a_test_that_never_errs_leaves_the_rate():
    seen = corrected_rate(Share(30, 100), Share(10**6, 10**6), Share(10**6, 10**6))
    assert seen.value == pytest.approx(0.3)
    # Then only the seen rate is uncertain: nearly the interval of Agresti and Coull.
    assert (seen.low, seen.high) == pytest.approx((0.2189, 0.3959), abs=1e-3)


def test_a_known_correction():
    # Of 1000 cases 200 are positive: .9 of them and .05 of the others are seen, 220 in all.
    corrected = corrected_rate(Share(220, 1000), Share(90, 100), Share(190, 200))
    assert corrected.value == pytest.approx(0.2)
    assert corrected.low < 0.2 < corrected.high
    assert corrected.n == 1000


def test_the_interval_is_wider_the_less_is_known_of_the_test():
    def width(labels):
        one = corrected_rate(Share(300, 1000), share(0.9, labels), share(0.9, labels))
        return one.high - one.low

    assert width(20) > 1.5 * width(100) > 1.5 * width(10_000)


@pytest.mark.parametrize(
    ("seen", "sensitivity", "specificity"),
    [
        (Share(0, 0), Share(9, 10), Share(9, 10)),
        (Share(3, 10), Share(0, 0), Share(9, 10)),
        (Share(3, 10), Share(9, 10), Share(0, 0)),
        (Share(3, 10), Share(5, 10), Share(5, 10)),
        (Share(3, 10), Share(2, 10), Share(5, 10)),
    ],
)
def test_what_can_t_be_known_is_not_estimated(seen, sensitivity, specificity):
    assert corrected_rate(seen, sensitivity, specificity) == Interval(None, None, None, seen.n)


@pytest.mark.parametrize("specificity", [Share(1, 4), Share(1, 100)])
def test_a_test_that_is_hardly_better_than_chance_tells_nothing(specificity):
    hardly = corrected_rate(Share(5, 10), Share(1, 1), specificity)
    assert (hardly.low, hardly.high) == (0, 1)


@given(counts, counts, counts, st.data())
def test_estimate_and_bounds_are_rates_in_order(n, positive, negative, data):
    seen = Share(data.draw(st.integers(0, n)), n)
    sensitivity = Share(data.draw(st.integers(positive // 2 + 1, positive)), positive)
    specificity = Share(data.draw(st.integers(negative // 2 + 1, negative)), negative)
    corrected = corrected_rate(seen, sensitivity, specificity)
    assert 0 <= corrected.low <= corrected.value <= corrected.high <= 1


@given(st.floats(0, 1), st.floats(0.6, 1), st.floats(0.6, 1))
def test_the_correction_undoes_the_errors(true, sensitivity, specificity):
    n = 10**9
    seen = true * sensitivity + (1 - true) * (1 - specificity)
    corrected = corrected_rate(share(seen, n), share(sensitivity, n), share(specificity, n))
    assert corrected.value == pytest.approx(true, abs=1e-6)


@pytest.mark.parametrize(
    ("true", "sensitivity", "specificity"),
    [(0.5, 0.8, 0.9), (0.1, 0.9, 0.95), (0.9, 0.7, 0.7), (0.3, 0.95, 0.6)],
)
def test_the_interval_covers_about_as_often_as_it_says(true, sensitivity, specificity):
    rng = np.random.default_rng(0)
    seen = true * sensitivity + (1 - true) * (1 - specificity)
    covered = 0
    for _ in range(400):
        interval = corrected_rate(
            Share(int(rng.binomial(200, seen)), 200),
            Share(int(rng.binomial(60, sensitivity)), 60),
            Share(int(rng.binomial(60, specificity)), 60),
        )
        covered += interval.low <= true <= interval.high
    assert covered >= 372  # 93 %; the interval is known to be a little wide


def test_more_than_all_is_no_share():
    with pytest.raises(ValueError, match="3 of 2"):
        Share(3, 2)


def test_a_difference_grows_by_what_the_judge_hides():
    """Of two rates seen by the same judge."""
    seen = Interval(0.2, 0.1, 0.3, 100, 0.001)
    perfect = corrected_difference(seen, Share(10**6, 10**6), Share(10**6, 10**6))
    assert (perfect.value, perfect.low, perfect.high) == pytest.approx((0.2, 0.1, 0.3), abs=1e-4)
    known = corrected_difference(seen, share(0.8, 10**6), share(0.7, 10**6))
    assert (known.value, known.low, known.high) == pytest.approx((0.4, 0.2, 0.6), abs=1e-2)
    assert known.p == seen.p
    few = corrected_difference(seen, share(0.8, 50), share(0.7, 50))
    assert few.value == pytest.approx(0.4)
    assert few.high > known.high
    assert 0 < few.low < known.low
    turned = corrected_difference(Interval(-0.2, -0.3, -0.1, 100), share(0.8, 50), share(0.7, 50))
    assert (turned.low, turned.high) == pytest.approx((-few.high, -few.low))


def test_a_judge_no_better_than_chance_shows_no_difference():
    seen = Interval(0.2, 0.1, 0.3, 100, 0.001)
    assert corrected_difference(seen, share(0.5, 40), share(0.5, 40)).value is None
    assert corrected_difference(seen, Share(0, 0), share(0.9, 40)).value is None
    assert corrected_difference(seen, share(0.6, 10), share(0.5, 10)).bounds == (-1, 1)


@given(counts, counts, st.floats(-0.5, 0.5), st.floats(0.01, 0.3))
def test_the_bounds_of_a_corrected_difference_are_around_it(se, sp, value, half):
    seen = Interval(value, max(-1, value - half), min(1, value + half), 100)
    found = corrected_difference(seen, share(0.85, se), share(0.8, sp))
    assert -1 <= found.low <= found.value <= found.high <= 1
