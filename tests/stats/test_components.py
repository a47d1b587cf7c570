import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vcjax.stats.components import largest_variance, variance_components

TRUE = {"question": 1.0, "language": 0.5, "framing": 0.3, "wording": 0.4}
"""Variances of what is drawn; two framings that differ by d have the variance d^2 / 2."""


def drawn(random, questions):
    own = random.normal(0, TRUE["question"] ** 0.5, (questions, 1))
    levels = own + random.normal(0, TRUE["language"] ** 0.5, (questions, 2))
    framed = levels + random.normal(0, (2 * TRUE["framing"]) ** 0.5, (questions, 2))
    noise = TRUE["wording"] ** 0.5
    neutral = levels[..., None] + random.normal(0, noise, (questions, 2, 3))
    return neutral, framed + random.normal(0, noise, (questions, 2))


def test_each_cause_is_estimated_without_bias_for_few_questions():
    random = np.random.default_rng(0)
    found = [variance_components(*drawn(random, 8), width=5.0) for _ in range(1500)]
    for name, variance in TRUE.items():
        estimates = np.array([each[name].parts.mean() for each in found])
        error = estimates.std() / np.sqrt(len(estimates))
        assert abs(estimates.mean() - variance) < 3 * error, name


@given(
    st.tuples(st.integers(2, 5), st.integers(1, 2), st.integers(2, 4)).flatmap(
        lambda shape: st.tuples(
            arrays(float, shape, elements=st.sampled_from([0.0, 1.0, 5.0])),
            arrays(float, shape[:2], elements=st.sampled_from([0.0, 1.0, 5.0])),
        )
    )
)
def test_no_part_is_outside_its_scale(values):
    for component in variance_components(*values, width=5.0).values():
        low, high = component.scale
        assert np.all(component.parts >= low - 1e-9)
        assert np.all(component.parts <= high + 1e-9)


def test_one_language_and_one_question_have_no_variance_between_them():
    found = variance_components(np.zeros((1, 1, 3)), np.ones((1, 1)), width=1.0)
    assert list(found) == ["wording", "framing"]
    assert found["framing"].parts == pytest.approx(0.5)
    with pytest.raises(ValueError, match="1 neutral wordings"):
        variance_components(np.zeros((2, 2, 1)), np.ones((2, 2)), width=1.0)


def test_the_largest_variance_is_reached_by_halves_at_both_ends():
    for values in range(2, 8):
        half = np.arange(values) < values // 2
        assert largest_variance(values) == pytest.approx(half.var(ddof=1))
