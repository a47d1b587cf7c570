"""A trained model, small enough for any test, against recorded outputs of transformers."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from safetensors import safe_open

from tests.external.outside import MODELS
from vcjax.generate.engine import Engine
from vcjax.generate.requests import Request, SamplingParams
from vcjax.generate.text import TextEngine
from vcjax.model.build import abstract, plain_logits
from vcjax.weights.export import write_model
from vcjax.weights.load import load_model

FOLDER = MODELS / "stories260k"


@pytest.fixture(scope="module")
def loaded():
    return load_model(str(FOLDER))


@pytest.fixture(scope="module")
def golden():
    return json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))


def test_greedy_continuation_is_the_recorded_one(loaded, golden):
    prompt = tuple(golden["prompt_ids"])
    expected = golden["greedy_ids"][len(prompt) :]
    engine = Engine(loaded.config, loaded.params, slots=2)
    request = Request(prompt, SamplingParams(len(expected)))
    beside = Request((*prompt, 403, 407), SamplingParams(40, temperature=1.0, seed=3))
    result, _ = engine.generate([request, beside])
    assert list(result.tokens) == expected
    np.testing.assert_allclose(result.logprobs, golden["token_logprobs"], rtol=0, atol=1e-3)
    assert loaded.require_tokenizer().decode(golden["greedy_ids"]).strip() == golden["text"].strip()


def test_log_probabilities_of_the_full_forward_are_the_recorded_ones(loaded, golden):
    ids = np.asarray([golden["greedy_ids"]], np.int32)
    graph, _ = abstract(loaded.config)
    scores = jax.nn.log_softmax(plain_logits(graph, loaded.params, ids)[0, :-1], axis=-1)
    chosen = np.asarray(scores)[np.arange(ids.size - 1), ids[0, 1:]]
    np.testing.assert_allclose(chosen, golden["token_logprobs"], rtol=0, atol=1e-3)


def test_the_files_come_back_bit_for_bit_through_a_checkpoint(loaded, tmp_path):
    for form in ("checkpoint", "hf"):
        (tmp_path / form).mkdir()
    write_model(tmp_path / "checkpoint", loaded, form="checkpoint")
    again = load_model(str(tmp_path / "checkpoint"))
    assert again.config == loaded.config
    assert (again.eos_ids, again.dtype) == (loaded.eos_ids, loaded.dtype)
    write_model(tmp_path / "hf", again, form="hf")
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
    ids = load_model(str(tmp_path / "hf")).require_tokenizer().encode(text)
    assert ids == loaded.require_tokenizer().encode(text)


@pytest.fixture(scope="module")
def text(loaded):
    return TextEngine(loaded, Engine(loaded.config, loaded.params, slots=4))


@pytest.fixture(scope="module")
def asked(text) -> list[Request]:
    """More requests than slots, with a common beginning of several blocks."""
    begin = "Once upon a time there was a little girl named Lily. She loved to play outside. " * 3
    ends = ("One day", "Her mom said", "It was", "Then", "She saw a big dog", "The sun")
    return [
        text.request(begin + end, SamplingParams(24, temperature=n % 2, seed=n))
        for n, end in enumerate(ends)
    ]


def test_every_request_gets_what_it_gets_alone_and_without_kept_prefixes(loaded, text, asked):
    together = text.engine.generate(asked)
    assert text.engine.stats().pooled_tokens > 0
    plain = Engine(loaded.config, loaded.params, slots=1, prefix_tokens=0)
    for request, result in zip(asked, together, strict=True):
        (alone,) = plain.generate([request])
        assert (alone.tokens, alone.finish_reason) == (result.tokens, result.finish_reason)
        np.testing.assert_allclose(alone.logprobs, result.logprobs, atol=1e-4)
    assert [one.tokens for one in text.engine.generate(asked[::-1])[::-1]] == [
        one.tokens for one in together
    ]


def test_decoding_is_the_full_forward_pass(loaded, text, asked):
    graph, _ = abstract(loaded.config)
    (result,) = text.engine.generate(asked[:1])
    ids = [*asked[0].prompt, *result.tokens]
    scores = np.asarray(plain_logits(graph, loaded.params, np.asarray([ids], np.int32)))[0]
    chosen = scores[len(asked[0].prompt) - 1 : -1].argmax(-1)
    assert tuple(chosen.tolist()) == result.tokens


def test_stop_strings_and_each_eos_end_a_story(text):
    prompt = "Once upon a time"
    (whole,) = text.generate([prompt], SamplingParams(60))
    stop = whole[20:23]
    assert text.generate([prompt], SamplingParams(60, stop=(stop,))) == [whole[: whole.index(stop)]]
    request = text.request(prompt, SamplingParams(60))
    (result,) = text.engine.generate([request])
    for eos in (result.tokens[5], result.tokens[40]):
        (cut,) = text.engine.generate([replace(request, eos_ids=(10**6, eos))])
        assert cut.tokens == result.tokens[: result.tokens.index(eos)]
        assert cut.finish_reason == "stop"
