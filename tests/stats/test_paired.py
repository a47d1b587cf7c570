from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.stats.paired import mcnemar_exact, sign_flip_test, tango_interval


def sides(gained: int, lost: int, n: int) -> tuple[list[bool], list[bool]]:
    rest = [True] * (n - gained - lost)
    return [False] * gained + [True] * lost + rest, [True] * gained + [False] * lost + rest


@st.composite
def counts(draw):
    n = draw(st.integers(1, 60))
    gained = draw(st.integers(0, n))
    return gained, draw(st.integers(0, n - gained)), n


def test_mcnemar_agrees_with_published_values():
    # Fagerland, Lydersen & Laake 2013, table 6: airway hyper-responsiveness (Bentur et al. 2009).
    assert mcnemar_exact(*sides(7, 1, 21)) == pytest.approx(0.0703, abs=5e-5)
    assert mcnemar_exact(*sides(3, 0, 13)) == 0.25


def test_mcnemar_of_no_change_is_one_and_unpaired_values_are_an_error():
    assert mcnemar_exact([True, False], [True, False]) == 1.0
    with pytest.raises(ValueError, match="zip"):
        mcnemar_exact([True], [True, False])


def test_tango_agrees_with_published_values():
    # The same data: Fagerland, Lydersen & Laake 2014, Statistics in Medicine 33: 2850-2875.
    assert tango_interval(7, 1, 21) == pytest.approx((0.026, 0.517), abs=5e-4)
    # R, PropCIs 0.3-0: scoreci.mp(25, 28, 618, conf.level = 0.90)
    assert tango_interval(28, 25, 618, 0.9) == pytest.approx((-0.0148, 0.0247), abs=5e-5)


@given(counts())
def test_tango_has_the_difference_within_and_a_width_always(found):
    gained, lost, n = found
    low, high = tango_interval(gained, lost, n)
    assert -1 <= low <= (gained - lost) / n + 1e-9
    assert (gained - lost) / n - 1e-9 <= high <= 1
    assert high - low > 0.05


@given(counts())
def test_the_other_way_round_is_the_negative(found):
    gained, lost, n = found
    low, high = tango_interval(gained, lost, n)
    assert tango_interval(lost, gained, n) == pytest.approx((-high, -low), abs=1e-9)
    there, back = sides(gained, lost, n)
    assert mcnemar_exact(there, back) == pytest.approx(mcnemar_exact(back, there))


def test_no_discordant_pair_has_a_width():
    low, high = tango_interval(0, 0, 13)
    assert (low, high) == pytest.approx((-0.228, 0.228), abs=5e-4)  # z^2 / (n + z^2)


@given(counts())
def test_the_sign_flip_test_of_rates_is_mcnemars(drawn):
    gained, lost, n = drawn
    differences = [1.0] * gained + [-1.0] * lost + [0.0] * (n - gained - lost)
    exact = mcnemar_exact(*sides(gained, lost, n))
    assert sign_flip_test(differences) == pytest.approx(exact, abs=1e-9 if n < 14 else 0.025)


@given(
    st.lists(st.sampled_from([0.5, 1.0, 1 / 3, 2.0]), min_size=1, max_size=7),
    st.floats(0.01, 0.5),
)
def test_of_all_assignments_of_signs_at_most_alpha_have_a_p_of_alpha(sizes, alpha):
    ps = [sign_flip_test(np.multiply(sizes, s)) for s in product((-1, 1), repeat=len(sizes))]
    assert np.mean(np.array(ps) <= alpha) <= alpha


def test_signs_of_one_cluster_flip_together():
    ten = np.ones(20)
    assert sign_flip_test(ten, np.repeat(np.arange(10), 2)) == 2 / 2**10
    assert sign_flip_test(ten) == pytest.approx(1e-4)
    assert sign_flip_test(ten, np.zeros(20, int)) == 1.0
    assert sign_flip_test([]) == sign_flip_test([0.0, 0.0]) == 1.0
