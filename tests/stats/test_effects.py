import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.stats.effects import odds_ratio, standardised_difference

COUNTS = st.integers(0, 40)


@given(st.lists(st.integers(-5, 5), min_size=3, max_size=60), st.floats(0.1, 10))
def test_a_standardised_difference_doesnt_depend_on_the_scale_and_turns_with_the_sides(values, by):
    differences = np.array(values, float)
    d = standardised_difference(differences)
    if len(set(values)) == 1:
        assert d is None
        return
    assert standardised_difference(by * differences) == pytest.approx(d)
    assert standardised_difference(-differences) == pytest.approx(-d)
    assert abs(d) <= abs(differences.mean()) / differences.std(ddof=1)


def test_the_correction_for_small_samples_leaves_no_bias():
    random = np.random.default_rng(0)
    found = [standardised_difference(random.normal(0.5, 1, 6)) for _ in range(4000)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.02)
    assert standardised_difference(np.array([1.0, 2.0])) is None


@given(COUNTS, COUNTS)
def test_the_odds_ratio_of_the_reverse_is_its_inverse(gained, lost):
    ratio, reverse = odds_ratio(gained, lost), odds_ratio(lost, gained)
    assert ratio.n == gained + lost
    if not ratio.n:
        assert ratio.bounds is None
        return
    if lost:
        assert ratio.low <= ratio.value <= ratio.high
    if lost and gained:
        assert reverse.value == pytest.approx(1 / ratio.value)
        assert reverse.low == pytest.approx(1 / ratio.high)
    assert (ratio.high is None) == (lost == 0)


def test_the_bounds_are_those_of_the_exact_test_of_the_changed_pairs():
    """Its interval excludes 1 exactly where McNemar's exact test rejects."""
    for gained in range(14):
        interval = odds_ratio(gained, 13 - gained)
        rejects = gained <= 2 or gained >= 11  # 2 P(X <= 2) = 0.022, 2 P(X <= 3) = 0.092
        assert (interval.low > 1 or (interval.high or np.inf) < 1) == rejects
