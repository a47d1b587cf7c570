import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.stats.multiplicity import holm

p_values = st.lists(st.floats(0, 1), max_size=12)


def test_holm_agrees_with_r():
    # R 4: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(p_values)
def test_holm_is_between_the_p_values_and_bonferronis_and_keeps_their_order(values):
    corrected = holm(values)
    assert len(corrected) == len(values)
    for p, q in zip(values, corrected, strict=True):
        assert p <= q <= min(1.0, p * len(values)) + 1e-12
    pairs = sorted(zip(values, corrected, strict=True))
    assert [q for _, q in pairs] == sorted(corrected)


def test_a_single_test_and_none_stay_as_they_are():
    assert holm([0.04]) == [0.04]
    assert holm([]) == []
