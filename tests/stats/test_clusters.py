import numpy as np
import pytest
import scipy.stats

from vcjax.stats.clusters import Variance, clustered_variance, effective_size
from vcjax.stats.intervals import RATE, crossed_mean, mean_interval


def test_clusters_of_one_size_are_students_test_of_their_means():
    means = np.array([0.5, 1.0, 2.5, 4.0, 3.0])
    values = np.concatenate([means - 0.3, means + 0.3])
    found = clustered_variance(values, np.tile(np.arange(5), 2))
    assert found.df == pytest.approx(4)
    assert found.value == pytest.approx(scipy.stats.sem(means) ** 2)
    interval = mean_interval(values, list("abcde") * 2)
    expected = scipy.stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert interval.bounds == pytest.approx((expected.low, expected.high))


def test_variance_of_unequal_clusters_is_unbiased_for_independent_values():
    """What CR2 is made for: its expectation under independence is the variance itself. It is a
    quadratic form in the values, so that the unit vectors give its expectation."""
    clusters = np.repeat(np.arange(4), [1, 2, 5, 12])
    expected = sum(clustered_variance(unit, clusters).value for unit in np.eye(20))
    assert expected == pytest.approx(1 / 20)
    assert clustered_variance(np.eye(20)[0], clusters).df < 3  # unequal clusters inform less


def test_two_causes_of_variance_are_welchs():
    random = np.random.default_rng(0)
    a, b = random.normal(size=8), random.normal(0, 3, size=5)
    both = Variance.of_mean(a) + Variance.of_mean(b)
    welch = scipy.stats.ttest_ind(a, b, equal_var=False)
    assert both.df == pytest.approx(welch.df)


def test_values_alike_within_clusters_count_once_each():
    clusters = np.repeat(np.arange(12), 8)
    alike = np.repeat(np.arange(12) % 2, 8).astype(float)
    size = effective_size(alike, clusters, clustered_variance(alike, clusters), 0.95)
    assert 8 < size < 12
    found = []
    for values in np.random.default_rng(1).integers(0, 2, (100, 96)).astype(float):
        spread = clustered_variance(values, clusters)
        found.append(effective_size(values, clusters, spread, 0.95))
    assert 65 < np.mean(found) < 96


def test_clusters_widen_and_single_ones_change_nothing():
    values = np.repeat([1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0, 1], 8)
    clusters = np.repeat(np.arange(12), 8).tolist()
    alone, clustered = (
        mean_interval(values, scale=RATE),
        mean_interval(values, clusters, scale=RATE),
    )
    assert np.ptp(clustered.bounds) > 2 * np.ptp(alone.bounds)
    assert mean_interval(values, range(96), scale=RATE) == alone


def test_equal_values_in_clusters_count_as_their_clusters():
    interval = mean_interval([1.0] * 96, np.repeat(np.arange(12), 8).tolist(), scale=RATE)
    assert interval.bounds == pytest.approx((0.025 ** (1 / 12), 1.0))


def test_one_cluster_has_no_interval():
    assert mean_interval([0, 1, 1], "aaa", scale=RATE).bounds is None


def test_one_run_is_the_mean_over_its_items():
    values = np.random.default_rng(0).integers(0, 2, (1, 40)).astype(float)
    clusters = (np.arange(40) // 4).tolist()
    crossed = crossed_mean(values, clusters, scale=RATE, seed=1)
    assert crossed == mean_interval(values[0], clusters, scale=RATE, seed=1)


@pytest.mark.parametrize("scale", [None, RATE])
def test_runs_that_differ_widen_the_interval(scale):
    alike = np.tile(np.arange(40) % 2, (3, 1)).astype(float)
    differing = np.stack([np.arange(40) % 4 == 0, np.arange(40) % 2, np.arange(40) % 4 > 0])
    narrow, wide = (
        np.ptp(crossed_mean(values.astype(float), scale=scale).bounds)
        for values in (alike, differing)
    )
    assert wide > 1.5 * narrow
