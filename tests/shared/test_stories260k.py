"""A trained model, small enough for any test, against what transformers gave for it."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors import safe_open

from vcjax.generate.engine import Engine
from vcjax.generate.requests import Request
from vcjax.model.build import abstract, plain_logits
from vcjax.weights.bundle import load_bundle, write_bundle

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "models" / "stories260k"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs ../shared")


@pytest.fixture(scope="module")
def bundle():
    return load_bundle(str(FOLDER))


@pytest.fixture(scope="module")
def golden():
    return json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))


def test_greedy_continuation_is_the_recorded_one(bundle, golden):
    prompt = tuple(golden["prompt_ids"])
    expected = golden["greedy_ids"][len(prompt) :]
    engine = Engine(bundle.config, bundle.params, slots=2)
    request = Request(prompt, len(expected))
    beside = Request((*prompt, 403, 407), 40, temperature=1.0, seed=3)
    result, _ = engine.generate([request, beside])
    assert list(result.tokens) == expected
    np.testing.assert_allclose(result.logprobs, golden["token_logprobs"], rtol=0, atol=1e-3)
    assert bundle.require_tokenizer().decode(golden["greedy_ids"]).strip() == golden["text"].strip()


def test_log_probabilities_of_the_full_forward_are_the_recorded_ones(bundle, golden):
    ids = np.asarray([golden["greedy_ids"]], np.int32)
    graph, _ = abstract(bundle.config)
    scores = jax.nn.log_softmax(plain_logits(graph, bundle.params, ids)[0, :-1], axis=-1)
    chosen = np.asarray(scores)[np.arange(ids.size - 1), ids[0, 1:]]
    np.testing.assert_allclose(chosen, golden["token_logprobs"], rtol=0, atol=1e-3)


def test_the_files_come_back_bit_for_bit_through_a_checkpoint(bundle, tmp_path):
    for form in ("checkpoint", "hf"):
        (tmp_path / form).mkdir()
    write_bundle(tmp_path / "checkpoint", bundle, form="checkpoint")
    again = load_bundle(str(tmp_path / "checkpoint"))
    assert again.config == bundle.config
    assert (again.eos_ids, again.dtype) == (bundle.eos_ids, bundle.dtype)
    write_bundle(tmp_path / "hf", again, form="hf")
    original, back = (
        safe_open(folder / "model.safetensors", framework="np")
        for folder in (FOLDER, tmp_path / "hf")
    )
    assert set(original.keys()) == set(back.keys())
    for name in original.keys():  # noqa: SIM118 (not a dict)
        one, other = original.get_tensor(name), back.get_tensor(name)
        assert (one.dtype, one.shape) == (other.dtype, other.shape), name
        assert one.tobytes() == other.tobytes(), name
    text = "Once upon a time, Lily 人"
    ids = load_bundle(str(tmp_path / "hf")).require_tokenizer().encode(text)
    assert ids == bundle.require_tokenizer().encode(text)
