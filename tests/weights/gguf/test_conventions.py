"""What differs in GGUF files: RoPE scaling is recovered from what llama.cpp's converter writes."""

import math
from pathlib import Path

import numpy as np
import pytest

from vcjax.core.errors import UserError
from vcjax.weights.gguf.conventions import rope_scaling
from vcjax.weights.gguf.metadata import Metadata


def divisors(head_dim, factor, low=1.0, high=4.0, context=8192, theta=500_000.0):
    """llama.cpp's `generate_extra_tensors`, one frequency at a time."""
    result = []
    for i in range(0, head_dim, 2):
        wavelength = 2 * math.pi * theta ** (i / head_dim)
        if wavelength < context / high:
            result.append(1.0)
        elif wavelength > context / low:
            result.append(factor)
        else:
            smooth = (context / wavelength - low) / (high - low)
            result.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(result, np.float32)


def recover(values=None, factors=None, theta=500_000.0, head_dim=128):
    metadata = Metadata(Path("m.gguf"), values or {})
    return rope_scaling(metadata, "llama", theta, head_dim, factors)


# Llama 3.1 (head_dim 128, factor 8), Llama 3.2 1B (64, 32).
@pytest.mark.parametrize(("head_dim", "factor"), [(128, 8.0), (64, 32.0), (128, 16.0)])
def test_llama3_factors_are_recognised(head_dim, factor):
    assert recover(factors=divisors(head_dim, factor), head_dim=head_dim) == {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }


def test_a_factor_that_no_frequency_reaches_in_full_is_recognised():
    factors = divisors(64, 32.0, theta=1000.0)
    assert 1.0 < factors.max() < 32.0
    assert recover(factors=factors, theta=1000.0, head_dim=64)["factor"] == 32.0


@pytest.mark.parametrize(
    "factors",
    [
        divisors(128, 8.0, low=2.0),
        divisors(128, 8.0, context=4096),
        divisors(128, 8.0, theta=10_000.0),
        divisors(128, 8.0) * np.float32(1.001),
        divisors(64, 8.0),
    ],
)
def test_other_factors_are_refused(factors):
    with pytest.raises(UserError, match=r"m\.gguf: the frequency factors .* aren't understood"):
        recover(factors=factors)


def test_factors_of_one_are_no_scaling():
    assert recover(factors=np.ones(64, np.float32)) is None


@pytest.mark.parametrize(
    "values",
    [
        {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0},
        {"llama.rope.scaling.factor": 4.0},
        {"llama.rope.scale_linear": 4.0},
    ],
)
def test_linear_scaling(values):
    assert recover(values) == {"rope_type": "linear", "factor": 4.0}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 4.0},
        {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 1.0},
        {"llama.rope.dimension_count": 128},
    ],
)
def test_no_scaling(values):
    assert recover(values) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"llama.rope.scaling.type": "yarn"}, "'yarn' is not supported"),
        ({"llama.rope.dimension_count": 64}, "64 of 128 dimensions"),
        ({"llama.rope.scaling.type": 1}, "of type int, not str"),
    ],
)
def test_other_rotations_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        recover(values)


def test_linear_scaling_beside_factors_is_refused():
    with pytest.raises(UserError, match="with factors"):
        recover({"llama.rope.scaling.factor": 4.0}, divisors(128, 8.0))
