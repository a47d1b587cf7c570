"""Our logits are those of transformers, as `tests/parity/record.py` recorded them."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.parity.random_models import CASES, LENGTH, POSITIONS, VOCAB, tokens
from vcjax.generate.scoring import score
from vcjax.model.build import abstract

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


@pytest.mark.parametrize("case", ["llama31", "mistral_window", "qwen2_window", "qwen3"])
def test_answers_to_one_prompt_score_as_transformers_would_score_each(case, recorded, random_model):
    """Of several answers side by side one is the record's; the prompts end inside and outside of
    windows and of the original context."""
    model = random_model(case)
    whole = tokens()[0].tolist()
    rows = zip(POSITIONS, recorded[case].astype(np.float64), strict=True)
    logits: dict[int, np.ndarray] = dict(rows)
    sequences, wanted = [], []
    for first, end in ((46, 49), (62, 65), (255, 256)):
        answers = [whole[first + 1 : end + 2], whole[:7], whole[9:30]]
        sequences += [(whole[: first + 1] + answer, first + 1) for answer in answers]
        record = [logits[position] for position in range(first, end + 1)]
        norms = [np.log(np.exp(row).sum()) for row in record]
        scored = zip(record, norms, answers[0], strict=True)
        wanted.append([row[token] - norm for row, norm, token in scored])
    results = score(abstract(model.config)[0], model.params, sequences)
    for result, expected in zip(results[::3], wanted, strict=True):
        np.testing.assert_allclose(result.logprobs, expected, rtol=0, atol=2e-4)
