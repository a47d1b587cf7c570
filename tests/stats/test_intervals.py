import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vcjax.stats.intervals import (
    Interval,
    crossed_mean,
    interval_record,
    mean_interval,
    paired_difference,
    rate_interval,
    rate_record,
)

scores = st.lists(st.integers(0, 5) | st.floats(0, 5), min_size=2, max_size=40)


@settings(deadline=None)
@given(values=scores, confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_an_interval_holds_the_mean_and_stays_among_the_values(values, confidence):
    interval = mean_interval(values, confidence, resamples=999)
    assert interval.n == len(values)
    assert interval.value == pytest.approx(np.mean(values))
    assert interval.low <= interval.value <= interval.high
    assert min(values) - 1e-9 <= interval.low
    assert interval.high <= max(values) + 1e-9


def test_equal_values_give_an_interval_of_no_width():
    assert mean_interval([0.1] * 7) == Interval(0.1, 0.1, 0.1, 7)


def test_too_few_values_give_no_interval():
    assert mean_interval([]) == Interval(None, None, None, 0)
    assert mean_interval([3]) == Interval(3.0, None, None, 1)


def test_a_seed_repeats_an_interval():
    values = np.random.default_rng(0).integers(0, 6, 50)
    assert mean_interval(values, seed=1) == mean_interval(values, seed=1)
    assert mean_interval(values, seed=1) != mean_interval(values, seed=2)


def test_the_interval_covers_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    population = np.array([0, 1, 3, 4, 5, 5])
    samples = rng.choice(population, (300, 60))
    intervals = [mean_interval(sample, resamples=999) for sample in samples]
    covered = np.mean([i.low <= population.mean() <= i.high for i in intervals])
    assert 0.91 <= covered <= 0.98


@settings(deadline=None)
@given(data=st.data(), n=st.integers(1, 400))
def test_wilson_is_within_zero_and_one_and_holds_the_rate(data, n):
    k = data.draw(st.integers(0, n))
    interval = rate_interval(k, n)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.value == k / n
    assert interval.low < interval.high


def test_wilson_agrees_with_a_published_example():
    # Newcombe 1998, table I: 81 of 263, method 3 (the score method without correction).
    interval = rate_interval(81, 263)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)


def test_a_rate_of_nothing_is_none():
    assert rate_interval(0, 0) == Interval(None, None, None, 0)


def test_an_interval_reads_what_it_records_and_is_written_for_a_reader():
    rate = rate_interval(5, 10)
    assert Interval.of(interval_record(rate)) == rate
    assert Interval.of(rate_record(5, 10, 0.95), "rate") == rate
    assert f"{rate:.0%}" == "50% [24%, 76%]"
    assert f"{Interval(-0.5, -1, 0.25, 3):+.1f}" == "-0.5 [-1.0, +0.2]"
    assert rate.text("{:.2f}".format, "{} ({} to {})") == "0.50 (0.24 to 0.76)"
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


def test_a_paired_difference_of_booleans_is_one_of_rates():
    difference = paired_difference([True, False, False, False], [True, True, True, False])
    assert difference.value == 0.5


@settings(deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=20))
def test_a_difference_changes_sign_with_its_sides(pairs):
    before, after = [p[0] for p in pairs], [p[1] for p in pairs]
    there, back = paired_difference(before, after), paired_difference(after, before)
    assert there.value == (None if back.value is None else -back.value)


def test_unpaired_values_are_an_error():
    with pytest.raises(ValueError, match="zip"):
        paired_difference([1], [1, 2])


@settings(deadline=None)
@given(
    arrays.arrays(
        float,
        st.tuples(st.integers(1, 4), st.integers(2, 12)),
        elements=st.sampled_from([0.0, 1.0]),
    )
)
def test_a_crossed_interval_has_the_mean_within_and_one_run_is_the_plain_bootstrap(values):
    interval = crossed_mean(values, seed=1)
    assert interval.bounds is not None
    low, high = interval.bounds
    assert interval.value == pytest.approx(values.mean())
    assert low <= values.mean() + 1e-12
    assert values.mean() - 1e-12 <= high
    single = crossed_mean(values[:1], seed=1)
    assert single == mean_interval(values[0].tolist(), 0.95, 1)


def test_runs_that_differ_widen_the_interval():
    alike = np.tile(np.arange(40) % 2, (3, 1)).astype(float)
    differing = np.stack([np.zeros(40), np.arange(40) % 2, np.ones(40)])
    narrow, wide = (np.ptp(crossed_mean(values).bounds) for values in (alike, differing))
    assert wide > 1.5 * narrow
