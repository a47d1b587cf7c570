import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from vcjax.stats.intervals import (
    RATE,
    Interval,
    interval_record,
    mean_interval,
    paired_difference,
    rate_interval,
    rate_record,
)

SCORES = (0.0, 5.0)
scores = st.lists(st.integers(0, 5) | st.floats(0, 5), min_size=2, max_size=40)


@settings(deadline=None, max_examples=40)
@given(values=scores, confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_an_interval_has_the_mean_within_a_width_and_stays_on_the_scale(values, confidence):
    interval = mean_interval(values, scale=SCORES, confidence=confidence)
    assert interval.n == len(values)
    assert interval.value == pytest.approx(np.mean(values))
    assert 0 <= interval.low <= interval.value <= interval.high <= 5
    assert interval.high - interval.low > 0.1


def test_thirteen_equal_scores_are_no_certainty():
    interval = mean_interval([3] * 13, scale=SCORES)
    unseen = 1 - 0.05 ** (1 / 13)  # what rare other scores may weigh
    assert interval.bounds == pytest.approx((3 - 3 * unseen, 3 + 2 * unseen), abs=0.01)
    difference = paired_difference([3] * 13, [3] * 13, scale=SCORES)
    assert (difference.value, difference.p) == (0, 1)
    assert difference.bounds == pytest.approx((-5 * unseen, 5 * unseen), abs=0.02)


def test_without_a_scale_it_is_students_and_of_equal_values_unknown():
    values = [1.0, 2.5, 2.0, 4.0]
    expected = scipy.stats.ttest_1samp(values, 1.5)
    found = mean_interval(values, null=1.5)
    assert found.bounds == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.p == pytest.approx(expected.pvalue)
    assert mean_interval([0.25] * 7) == Interval(0.25, None, None, 7)


def test_too_few_values_give_no_interval():
    assert mean_interval([]) == Interval(None, None, None, 0)
    assert mean_interval([3], scale=SCORES) == Interval(3.0, None, None, 1)


def test_values_outside_the_scale_and_missing_clusters_are_errors():
    with pytest.raises(ValueError, match="not within"):
        mean_interval([1, 7], scale=SCORES)
    with pytest.raises(ValueError, match="2 values, but 1 clusters"):
        mean_interval([1, 2], ["a"])


def test_a_seed_repeats_an_interval_and_the_order_of_values_is_of_no_consequence():
    values = np.random.default_rng(0).integers(0, 6, 50)
    first = mean_interval(values, scale=SCORES, seed=1)
    assert mean_interval(values[::-1], scale=SCORES, seed=1) == first
    assert mean_interval(values, scale=SCORES, seed=2) != first


@given(data=st.data(), n=st.integers(2, 60))
@settings(deadline=None, max_examples=40)
def test_of_zeros_and_ones_it_is_the_exact_interval_of_a_rate(data, n):
    k = data.draw(st.integers(0, n))
    interval = mean_interval([1] * k + [0] * (n - k), scale=RATE)
    assert interval.bounds == pytest.approx(rate_interval(k, n).bounds, abs=1e-9)


def test_values_between_the_ends_have_the_mid_p_interval():
    """One value of 40 is moved off the end by a hair, so that draws are needed. The mid-P interval
    of a rate is where the means of two adjacent beta distributions' tails are 2.5 %."""
    low, high = mean_interval([0] * 15 + [1] * 24 + [1 - 1e-9], scale=RATE).bounds
    beta = scipy.stats.beta
    for end, tail in ((low, 0.025), (high, 0.975)):
        found = (beta.cdf(end, 25, 16) + beta.cdf(end, 26, 15)) / 2
        assert found == pytest.approx(tail, abs=0.005)
    exact = rate_interval(25, 40)
    assert exact.low < low < high < exact.high


@settings(deadline=None, max_examples=40)
@given(values=st.lists(st.integers(-5, 5), min_size=2, max_size=30))
def test_the_p_value_is_where_the_interval_ends(values):
    found = mean_interval(values, scale=(-5.0, 5.0), null=0.0)
    assert 0 <= found.p <= 1
    if 0.002 < found.p < 0.9:
        ends = mean_interval(values, scale=(-5.0, 5.0), confidence=1 - found.p)
        # Within the error of the draws.
        assert min(abs(ends.low), abs(ends.high)) < 0.1


@settings(deadline=None)
@given(data=st.data(), n=st.integers(1, 400))
def test_a_rates_interval_is_within_zero_and_one_and_has_the_rate_within(data, n):
    k = data.draw(st.integers(0, n))
    interval = rate_interval(k, n)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.value == k / n
    assert interval.low < interval.high


def test_a_rates_interval_agrees_with_a_published_example():
    # Newcombe 1998, Statistics in Medicine 17: 857-872, table I: 81 of 263 and 0 of 20, method 5
    # (Clopper & Pearson's exact method).
    assert rate_interval(81, 263).bounds == pytest.approx((0.2527, 0.3676), abs=5e-5)
    assert rate_interval(0, 20).bounds == pytest.approx((0, 0.1684), abs=5e-5)


def test_a_rate_of_nothing_is_none():
    assert rate_interval(0, 0) == Interval(None, None, None, 0)


def test_an_interval_reads_what_it_records_and_is_written_for_a_reader():
    rate = rate_interval(5, 10)
    assert Interval.of(interval_record(rate)) == rate
    change = paired_difference([False] * 6, [True] * 6)
    assert Interval.of(interval_record(change, "difference"), "difference") == change
    assert "p" not in interval_record(rate)
    assert Interval.of(rate_record(5, 10, 0.95), "rate") == rate
    assert f"{rate:.0%}" == "50% [19%, 81%]"
    assert f"{Interval(-0.5, -1, 0.25, 3):+.1f}" == "-0.5 [-1.0, +0.2]"
    assert rate.text("{:.2f}".format, "{} ({} to {})") == "0.50 (0.19 to 0.81)"
    assert f"{Interval(3.0, None, None, 1):.1f}" == "3.0"
    assert f"{Interval():.1f}" == "–"
    assert Interval.of(None) == Interval()
    unmeasured = {"mean": float("nan"), "low": None, "high": None, "n": 0}
    assert Interval.of(unmeasured, "mean") == Interval()


def test_a_paired_difference_cancels_what_makes_items_hard():
    hard = np.random.default_rng(0).normal(0, 10, 100)
    after = hard + 1 + np.random.default_rng(1).normal(0, 0.1, 100)
    difference = paired_difference(hard, after)
    assert difference.low > 0.9
    assert difference.high < 1.1


def test_three_of_thirteen_improved_is_no_change():
    """The bootstrap's interval excluded zero."""
    improved = paired_difference([False] * 13, [True] * 3 + [False] * 10)
    assert improved.value == pytest.approx(3 / 13)
    assert improved.p == 0.25
    assert improved.low < 0 < improved.high


def test_a_paired_difference_of_booleans_is_one_of_rates():
    difference = paired_difference([True, False, False, False], [True, True, True, False])
    assert (difference.value, difference.p) == (0.5, 0.5)
    array = paired_difference(np.array([True, False]), np.array([False, False]))
    assert array == paired_difference([True, False], [False, False])


def test_rates_in_clusters_are_compared_by_cluster():
    before, after = [False] * 24, [True] * 6 + [False] * 18
    items, topics = paired_difference(before, after), [number // 6 for number in range(24)]
    clustered = paired_difference(before, after, topics)
    assert (items.value, clustered.value) == (0.25, 0.25)
    assert items.p < 0.05 < clustered.p  # all from one topic of four
    assert np.ptp(clustered.bounds) > np.ptp(items.bounds)


@settings(deadline=None, max_examples=40)
@given(pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=20))
def test_a_difference_changes_sign_with_its_sides(pairs):
    before, after = [p[0] for p in pairs], [p[1] for p in pairs]
    there = paired_difference(before, after, scale=SCORES)
    back = paired_difference(after, before, scale=SCORES)
    assert there.value == -back.value
    # Within the error of the draws.
    assert there.low == pytest.approx(-back.high, abs=0.2)


def test_unpaired_values_are_an_error():
    with pytest.raises(ValueError, match="1 values before, but 2 after"):
        paired_difference([1], [1, 2])


@given(k=st.integers(0, 30), confidence=st.sampled_from([0.8, 0.95]))
def test_the_p_value_of_a_rate_is_exactly_where_its_interval_ends(k, confidence):
    for end in rate_interval(k, 30, confidence).bounds:
        if 0 < end < 1:
            found = mean_interval([1] * k + [0] * (30 - k), scale=RATE, null=end)
            assert found.p == pytest.approx(1 - confidence)
