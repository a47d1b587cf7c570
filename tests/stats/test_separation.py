import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.stats.separation import separation
from vcjax.stats.slopes import slope_within

scores = st.integers(0, 3)
blocks = st.lists(
    st.tuples(scores, st.lists(scores, min_size=1, max_size=3)), min_size=1, max_size=4
)


@given(blocks)
def test_p_is_the_share_of_all_choices_that_are_as_good(drawn):
    def value(chosen):
        shares = []
        for (right, others), place in zip(drawn, chosen, strict=True):
            members = [right, *others]
            picked = members.pop(place)
            shares.append(np.mean([(picked > each) + (picked == each) / 2 for each in members]))
        return np.mean(shares)

    choices = list(itertools.product(*(range(len(others) + 1) for _, others in drawn)))
    found = separation(drawn)
    own = value([0] * len(drawn))
    assert found.value == pytest.approx(own)
    as_good = np.mean([value(chosen) >= own - 1e-12 for chosen in choices])
    assert found.p == pytest.approx(as_good)


def test_nothing_to_tell_apart_has_no_value_and_a_block_needs_others():
    assert separation([]).value is None
    with pytest.raises(ValueError, match="needs others"):
        separation([(1, [])])


def test_a_slope_is_that_within_the_groups():
    x = np.array([0.0, 1, 2, 10, 11, 12])
    y = 3 * x + np.array([0, 0, 0, -90, -90, -90])
    found = slope_within(x, y, ["a"] * 3 + ["b"] * 3)
    assert found.value == pytest.approx(3)
    assert slope_within(x, y, list("abcdef")).value is None


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=4, max_size=12))
def test_a_slope_is_numpy_s_where_there_is_one_group(pairs):
    x, y = np.array(pairs).T
    if np.ptp(x) < 0.1:
        return
    found = slope_within(x, y, ["all"] * len(x))
    assert found.value == pytest.approx(np.polyfit(x, y, 1)[0], abs=1e-6)
    if found.bounds:
        assert found.low <= found.value <= found.high


def test_a_slope_that_hangs_on_one_cluster_is_known_badly():
    """The interval has as few degrees of freedom as there are clusters that decide."""
    random = np.random.default_rng(0)
    noise = random.normal(0, 1, 40)
    even, far = np.linspace(-1, 1, 40), np.r_[np.linspace(-0.1, 0.1, 39), 20.0]
    spread = [slope_within(x, noise * x, ["all"] * 40) for x in (even, far)]
    errors = [(each.high - each.low) / 2 for each in spread]
    # In units of the standard error the interval of the second is far wider than 2.
    jackknife = []
    for x in (even, far):
        y = noise * x
        slopes = [np.polyfit(np.delete(x, k), np.delete(y, k), 1)[0] for k in range(40)]
        jackknife.append(np.sqrt(39 / 40 * np.sum((slopes - np.polyfit(x, y, 1)[0]) ** 2)))
    assert errors[0] / jackknife[0] == pytest.approx(2.03, abs=0.1)
    assert errors[1] / jackknife[1] > 10
