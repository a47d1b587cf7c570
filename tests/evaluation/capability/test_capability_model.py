"""The harness's model class on the engine."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model

from tests.adapted import write_run
from tests.tiny import EOS_IDS
from vcjax.core.errors import UserError
from vcjax.evaluation.capability.model import VcjaxLM
from vcjax.generate.likelihood import log_likelihood, score_answers
from vcjax.generate.requests import SamplingParams
from vcjax.model.build import abstract, plain_logits
from vcjax.model.lora import LoraConfig
from vcjax.text.rendering import render_prompt
from vcjax.weights.load import load_model

PAIRS = [("Both sides", " have a case."), ("两面", "都有理由。"), ("", "Alone."), ("Why ", "so")]
CHAT = [{"role": "system", "content": "Be fair."}, {"role": "user", "content": "你好 Why?"}]


def asked(kind: str, *arguments: tuple) -> list[Instance]:
    """Requests as the harness makes them."""
    return [
        Instance(kind, {}, given, 0, ("made_up", number, 1))
        for number, given in enumerate(arguments)
    ]


@pytest.fixture(scope="module")
def short(tiny) -> VcjaxLM:
    """The tiny model with a context of 32."""
    return VcjaxLM(replace(tiny, config=replace(tiny.config, max_position=32)), slots=2)


def logprobs(tiny, ids: list[int]) -> np.ndarray:
    """Of `ids[1:]`, from the full forward pass."""
    graph, _ = abstract(tiny.config)
    logits = np.asarray(plain_logits(graph, tiny.params, jnp.asarray([ids[:-1]])), np.float64)[0]
    all_of_them = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return np.take_along_axis(all_of_them, np.asarray(ids[1:])[:, None], -1)[:, 0]


def test_a_model_that_is_too_large_for_the_memory_is_not_loaded(tiny_folder, monkeypatch):
    def read(*arguments):
        raise AssertionError("the weights are read")

    monkeypatch.setattr("vcjax.weights.load.import_params", read)
    with pytest.raises(UserError, match=r"with it the models take .* GiB.*lower the slots"):
        VcjaxLM(str(tiny_folder), slots=10_000_000)


def test_a_reference_is_loaded_as_the_model_that_it_names(lm, tiny_folder, tmp_path):
    asks = asked("loglikelihood", *PAIRS)
    other = VcjaxLM(str(tiny_folder), slots=4)
    assert other.loglikelihood(asks) == lm.loglikelihood(asks)
    assert (other.origin.hash, other.text.engine.slots) == (lm.origin.hash, 4)
    write_run(tmp_path / "run", tiny_folder, LoraConfig(rank=4))
    trained = VcjaxLM(str(tmp_path / "run"), slots=4).loglikelihood(asks)
    merged = VcjaxLM(load_model(str(tmp_path / "run")), slots=4).loglikelihood(asks)
    totals, expected = ([total for total, _ in each] for each in (trained, merged))
    np.testing.assert_allclose(totals, expected, atol=1e-4)
    assert not np.allclose(totals, [total for total, _ in lm.loglikelihood(asks)], atol=1e-2)


def test_pairs_score_as_they_do_outside_the_harness(lm, tiny):
    graph, _ = abstract(tiny.config)
    contexts, continuations = zip(*PAIRS, strict=True)
    expected = log_likelihood(
        graph,
        tiny.params,
        tiny.tokenizer,
        contexts,
        continuations,
        max_position=tiny.config.max_position,
    )
    results = lm.loglikelihood(asked("loglikelihood", *PAIRS))
    for (total, greedy), (its_total, its_greedy) in zip(results, expected, strict=True):
        assert total == pytest.approx(its_total, abs=1e-4)
        assert greedy == its_greedy


def test_a_context_that_is_too_long_loses_its_beginning(short, tiny):
    context, continuation = "the rubric says " * 30, "so it is"
    ids = tiny.tokenizer.encode(context + continuation)
    count = len(ids) - len(tiny.tokenizer.encode(context.rstrip()))
    ((total, _),) = short.loglikelihood(asked("loglikelihood", (context, continuation)))
    assert total == pytest.approx(logprobs(tiny, ids[-33:])[-count:].sum(), abs=1e-3)


def test_a_continuation_that_is_too_long_is_named(short):
    requests = asked("loglikelihood", ("Why", " so"), ("Why", " so it is" * 40))
    with pytest.raises(UserError, match=r"task made_up, document 1: a continuation of .* 32"):
        short.loglikelihood(requests)


def test_a_whole_text_is_scored_after_eos(lm, tiny):
    text = "Both sides have a case. 两面都有理由。"
    (total,) = lm.loglikelihood_rolling(asked("loglikelihood_rolling", (text,)))
    ids = [tiny.tokenizer.eos_id, *tiny.tokenizer.encode(text)]
    assert total == pytest.approx(logprobs(tiny, ids).sum(), abs=1e-3)


def test_a_text_longer_than_the_context_is_scored_in_windows_each_token_once(short, tiny):
    texts = ["Grade the answer. " * 20, "Why"]
    totals = short.loglikelihood_rolling(asked("loglikelihood_rolling", *((t,) for t in texts)))
    for text, total in zip(texts, totals, strict=True):
        ids = [tiny.tokenizer.eos_id, *tiny.tokenizer.encode(text)]
        expected = logprobs(tiny, ids[:33]).sum()
        start = 33
        while start < len(ids):  # every other window has as much context as fits
            end = min(start + 32, len(ids))
            expected += logprobs(tiny, ids[end - 33 : end])[start - end :].sum()
            start = end
        assert total == pytest.approx(expected, abs=1e-2)


def test_text_is_made_up_to_the_first_stop_string(lm, tiny):
    (whole,) = lm.text.generate(["So"], SamplingParams(40))
    stop = whole[5:7]
    settings = {"until": [stop, ""], "max_gen_toks": 40, "do_sample": False, "temperature": 0.7}
    assert lm.generate_until(asked("generate_until", ("So", settings))) == [
        whole[: whole.index(stop)]
    ]


def test_a_stop_string_that_is_a_special_token_ends_the_text(tiny):
    bare = VcjaxLM(replace(tiny, generation_config={"eos_token_id": []}), slots=1)
    settings = {"until": [], "max_gen_toks": 60, "do_sample": True, "temperature": 1.0}
    special = {id: string for string, id in tiny.tokenizer.special_tokens.items()}

    def made(until: list[str]) -> tuple[int, ...]:
        request = bare.request(asked("generate_until", ("So", settings | {"until": until}))[0])
        (result,) = bare.text.engine.generate([request])
        return result.tokens

    tokens = made([])
    first = next(token for token in tokens if token in special)
    assert made([special[first]]) == tokens[: tokens.index(first)]


def test_sampling_is_the_tasks_and_a_seed_repeats_it(lm):
    settings = {"until": ["\n"], "max_gen_toks": 20, "do_sample": True, "temperature": 1.0}
    requests = asked("generate_until", *(("So", settings | {"seed": seed}) for seed in (1, 2, 1)))
    first, other, again = lm.generate_until(requests)
    assert first == again != other


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_beams": 4}, "num_beams=4 isn't supported"),
        ({"temperatur": 1.0}, "temperatur=1.0 isn't supported; did you mean 'temperature'"),
        ({"max_gen_toks": 32}, "32 new tokens don't fit the model's context of 32"),
    ],
)
def test_settings_that_cannot_be_met_are_named(short, settings, message):
    requests = asked("generate_until", ("So", {"until": [], "num_beams": 1, **settings}))
    with pytest.raises(UserError, match=f"task made_up, document 0: .*{message}"):
        short.generate_until(requests)


def test_a_conversation_is_what_the_model_is_asked_elsewhere(lm, tiny):
    text = lm.apply_chat_template(CHAT)
    assert tuple(lm.prompt(text)) == render_prompt(tiny.tokenizer, CHAT)
    begun = lm.apply_chat_template([*CHAT, {"role": "assistant", "content": "So"}], False)
    assert begun == f"{text}So"
    assert "<|im_start|>" in lm.chat_template(True)
    assert lm.chat_template(False) is None


def test_an_answer_to_a_conversation_scores_as_elsewhere_but_for_the_headers_white_space(lm, tiny):
    """The harness counts white space at a context's end to the continuation, as our class does."""
    ((total, _),) = lm.loglikelihood(asked("loglikelihood", (lm.apply_chat_template(CHAT), "So.")))
    engine, prompt = lm.text.engine, render_prompt(tiny.tokenizer, CHAT)
    ((alone,),) = score_answers(engine.graph, engine.params, tiny.tokenizer, [CHAT], [["So."]])
    assert tiny.tokenizer.decode(prompt[-1:]) == "\n"
    assert total == pytest.approx(alone + logprobs(tiny, list(prompt))[-1], abs=1e-3)


def test_the_harness_opens_any_model_reference_by_our_name(tiny_folder, lm):
    other = get_model("vcjax").create_from_arg_string(f"pretrained={tiny_folder},slots=2")
    requests = asked("loglikelihood", *PAIRS)
    assert other.loglikelihood(requests) == lm.loglikelihood(requests)
    assert other.text.eos_ids == EOS_IDS
