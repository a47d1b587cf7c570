"""Our logits are those of transformers, as `tests/parity/record.py` recorded them."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.parity.random_models import CASES, LENGTH, POSITIONS, VOCAB, tokens

PARITY = Path(__file__).parents[1] / "parity"


@pytest.fixture(scope="module")
def recorded():
    return np.load(PARITY / "recorded.npz")


def test_the_record_is_of_these_models(recorded):
    about = json.loads((PARITY / "recorded.json").read_text(encoding="utf-8"))
    assert set(recorded) == set(CASES)
    assert (about["length"], about["vocab"]) == (LENGTH, VOCAB)
    assert about["positions"] == list(POSITIONS)


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_transformers_on_520_tokens(case, recorded, random_model):
    ours = random_model(case).logits(tokens())[0, list(POSITIONS)]
    assert 1 < recorded[case].std(axis=-1).mean() < 5
    np.testing.assert_allclose(ours, recorded[case], rtol=0, atol=1e-4)


@pytest.mark.parametrize("case", ["llama31", "llama32_tied", "llama_linear_rope"])
def test_without_the_rope_scaling_the_record_is_missed(case, recorded, random_model):
    plain = random_model(case, rope_scaling=None).logits(tokens())[0, list(POSITIONS)]
    assert np.abs(plain - recorded[case]).max() > 0.1


def test_without_the_window_the_record_is_missed_only_beyond_it(recorded, random_model):
    ours = random_model("mistral_window", sliding_window=None).logits(tokens())[0, list(POSITIONS)]
    error = np.abs(ours - recorded["mistral_window"]).max(axis=-1)
    inside = np.asarray(POSITIONS) < 48
    assert error[inside].max() < 1e-4
    assert error[~inside].min() > 1e-2
