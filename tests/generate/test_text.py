"""The text layer: prompts in, text out, whole or in pieces; dialogues; likelihood of given text."""

import string
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

import vcjax
from tests.tiny import CONTEXT, EOS_IDS
from vcjax.core.errors import UserError
from vcjax.core.seeds import derive_seed
from vcjax.generate.engine import Engine
from vcjax.generate.requests import SamplingParams
from vcjax.generate.text import Dialogue, TextEngine, log_likelihood
from vcjax.model.build import abstract, plain_logits
from vcjax.text.rendering import render_prompt

SAMPLING = SamplingParams(12, temperature=1.0, min_tokens=4, seed=5)
CHAT = [{"role": "user", "content": "你好 Why?"}]


@pytest.fixture(scope="module")
def model(tiny_folder):
    return vcjax.load(str(tiny_folder))


def test_a_stream_adds_up_to_what_generate_gives(text_engine):
    for seed in range(4):
        sampling = SamplingParams(40, temperature=1.0, seed=seed)
        (result,) = text_engine.engine.generate([text_engine.request(CHAT, sampling)])
        pieces = list(text_engine.stream(CHAT, sampling))
        assert "".join(pieces) == text_engine.tokenizer.decode(result.tokens)


def test_a_piece_waits_for_the_rest_of_its_character(text_engine):
    # A schema with one possible text makes the random model write it, byte by byte.
    only = "公平的回答😀 fair"
    sampling = SamplingParams(100, json_schema={"const": only})
    pieces = list(text_engine.stream("Say it.", sampling))
    assert "".join(pieces) == f'"{only}"'
    assert not any("\ufffd" in piece for piece in pieces)
    assert len(pieces) > 5


def test_prompts_of_one_call_draw_from_seeds_of_their_own(text_engine):
    sampling = SamplingParams(16, temperature=1.0, seed=4)
    first, second = text_engine.generate([CHAT, CHAT], sampling)
    assert first != second
    assert text_engine.generate([CHAT], sampling) == [first]


def test_one_text_instead_of_a_list_is_refused(text_engine):
    with pytest.raises(UserError, match="list"):
        text_engine.generate("Why?", SamplingParams())


def test_a_conversation_is_rendered_with_the_chat_template(text_engine):
    request = text_engine.request(CHAT, SamplingParams())
    text = text_engine.tokenizer.decode(request.prompt, skip_special=False)
    assert text == "<|im_start|>user\n你好 Why?<|im_end|>\n<|im_start|>assistant\n"
    assert request.eos_ids == EOS_IDS


@pytest.mark.parametrize(
    ("context", "continuation"),
    [("Both sides", " have a case."), ("两面", "都有理由。"), ("", "Alone."), ("f", "air")],
)
def test_log_likelihood_is_the_sum_of_the_logits_log_softmax(model, context, continuation):
    tokenizer = model.tokenizer
    ids = tokenizer.encode(context + continuation)
    start = min(len(tokenizer.encode(context)), len(ids) - 1)
    if start == 0:  # EOS precedes a text without a context
        ids, start = [tokenizer.eos_id, *ids], 1
    logits = np.asarray(model.logits(jnp.asarray([ids])), np.float64)[0]
    logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    positions = range(start, len(ids))
    ((total, greedy),) = model.log_likelihood([context], [continuation])
    assert total == pytest.approx(sum(logprobs[i - 1, ids[i]] for i in positions), abs=1e-4)
    assert greedy == all(logprobs[i - 1].argmax() == ids[i] for i in positions)


def test_the_model_s_own_continuation_is_greedy_and_any_other_is_not(model):
    prompts = [f"So, {letter}" for letter in string.ascii_letters]
    spoken = zip(prompts, model.generate(prompts, max_tokens=1), strict=True)
    encode = model.tokenizer.encode
    prompt, own_text = next(  # one that comes back as the same tokens when it is encoded again
        (prompt, text)
        for prompt, text in spoken
        if text and "\ufffd" not in text and encode(prompt + text)[:-1] == encode(prompt)
    )
    (own, other) = model.log_likelihood([prompt] * 2, [own_text, " zebra"])
    assert own[1] is True
    assert other[1] is False
    assert own[0] > other[0]


def summed(model, prompt: Sequence[int], answer: Sequence[int]) -> float:
    """Log-probability of `answer` after `prompt`, from the full forward pass."""
    ids = [*prompt, *answer]
    logits = np.asarray(model.logits(jnp.asarray([ids])), np.float64)[0]
    logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return float(sum(logprobs[n - 1, ids[n]] for n in range(len(prompt), len(ids))))


def test_an_answer_to_a_conversation_is_scored_after_what_the_model_would_be_given(model):
    prompt, encode = render_prompt(model.tokenizer, CHAT), model.tokenizer.encode
    assert prompt[0] == model.tokenizer.special_tokens["<|im_start|>"]
    for answer in ("Both sides.", "都有理由。", " So<|im_end|>"):
        ((total, _),) = model.log_likelihood([CHAT], [answer])
        assert total == pytest.approx(summed(model, prompt, encode(answer)), abs=1e-4)


def test_answers_come_in_their_order_and_each_context_is_reported_once(model):
    other = [{"role": "system", "content": "Be fair."}, *CHAT]
    contexts = [CHAT, "Both sides", other, CHAT]
    answers = [["So.", "Why not?", "都有理由。"], [" have"], ["So.", "No."], ["So."]]
    reported = {}
    scores = model.score_answers(contexts, answers, on_scored=reported.__setitem__)
    assert reported == dict(enumerate(scores))
    for context, own, totals in zip(contexts, answers, scores, strict=True):
        alone = model.log_likelihood([context] * len(own), own)
        assert totals == pytest.approx([total for total, _ in alone], abs=1e-4)


def test_answers_that_cannot_be_scored_are_refused(model):
    with pytest.raises(UserError, match="context 1: no answers"):
        model.score_answers([CHAT, CHAT], [["So."], []])
    with pytest.raises(UserError, match="the second: a continuation is empty"):
        model.score_answers([CHAT, CHAT], [["So."], ["So.", ""]], names=["the first", "the second"])
    with pytest.raises(UserError, match="ends with the assistant's turn"):
        model.score_answers([[*CHAT, {"role": "assistant", "content": "So"}]], [["."]])
    with pytest.raises(
        UserError, match=f"context 0: .* don't fit the model's context of {CONTEXT}"
    ):
        model.score_answers([CHAT], [["So.", "why " * CONTEXT]])


def test_a_pair_that_cannot_be_scored_is_refused(model, tiny):
    with pytest.raises(UserError, match="a continuation is empty"):
        model.log_likelihood(["Both"], [""])
    graph, _ = abstract(tiny.config)
    with pytest.raises(UserError, match="doesn't fit a context of 4"):
        log_likelihood(
            graph, tiny.params, tiny.tokenizer, ["Both sides"], [" have a case."], max_position=4
        )


def test_a_saved_model_loads_as_the_same_model(model, tmp_path):
    tokens = np.arange(100, 124).reshape(2, 12)
    logits = np.asarray(model.logits(tokens))
    assert logits.shape == (2, 12, model.config.vocab_size)
    assert logits.dtype == np.float32
    model.save(tmp_path / "hf", format="hf")
    vcjax.load(str(tmp_path / "hf")).save(tmp_path / "checkpoint", format="checkpoint")
    again = vcjax.load(str(tmp_path / "checkpoint"))
    np.testing.assert_array_equal(again.logits(tokens), logits)
    sampling = {"max_tokens": 12, "temperature": 1.0, "seed": 3}
    assert again.generate(["Why?", CHAT], **sampling) == model.generate(["Why?", CHAT], **sampling)
    assert again.lineage["parents"][0]["hash"] == vcjax.load(str(tmp_path / "hf")).lineage["hash"]


def test_a_folder_that_exists_is_not_written_over(model, tmp_path):
    with pytest.raises(UserError, match="exists; choose another folder"):
        model.save(tmp_path)


def test_logits_want_a_matrix_of_integers(model):
    for tokens in (np.arange(3), np.ones((1, 3), np.float32)):
        with pytest.raises(UserError, match=r"integers \[batch, length\]"):
            model.logits(tokens)


def test_a_model_without_a_tokenizer_loads_and_only_using_it_fails(tiny_folder, tmp_path):
    for name in ("config.json", "model.safetensors", "generation_config.json"):
        (tmp_path / name).write_bytes((tiny_folder / name).read_bytes())
    bare = vcjax.load(str(tmp_path))
    graph, _ = abstract(bare.config)
    tokens = jnp.arange(100, 112)[None]
    np.testing.assert_array_equal(
        bare.logits(tokens), plain_logits(graph, bare.loaded.params, tokens)
    )
    for use in (
        lambda: bare.tokenizer,
        lambda: bare.generate(["Why?"], max_tokens=1),
        lambda: bare.log_likelihood(["a"], ["b"]),
    ):
        with pytest.raises(UserError, match="this model has no tokenizer"):
            use()


@pytest.fixture(scope="module")
def narrow(tiny) -> TextEngine:
    """Its context has room for three short exchanges."""
    loaded = replace(tiny, config=replace(tiny.config, max_position=160))
    return TextEngine(loaded, Engine(loaded.config, loaded.params, slots=1))


def answer_to(text: TextEngine, seed: int, *contents: str) -> str:
    """The answer to a conversation after the system's `Be fair.`"""
    roles = ("user", "assistant") * len(contents)
    turns = [{"role": r, "content": c} for r, c in zip(roles, contents, strict=False)]
    messages = [{"role": "system", "content": "Be fair."}, *turns]
    sampling = replace(SAMPLING, seed=derive_seed(5, seed))
    return "".join(text.stream(messages, sampling))


def test_each_answer_is_to_the_whole_conversation(text_engine):
    dialogue = Dialogue(text_engine, SAMPLING, "Be fair.")
    first = "".join(dialogue.ask("你好"))
    assert first == answer_to(text_engine, 0, "你好")
    assert "".join(dialogue.ask("Why?")) == answer_to(text_engine, 1, "你好", first, "Why?")
    dialogue.reset()
    assert "".join(dialogue.ask("你好")) == first


def test_an_answer_that_is_broken_off_counts_as_far_as_it_came(text_engine):
    dialogue = Dialogue(text_engine, SAMPLING, "Be fair.")
    with closing(dialogue.ask("你好")) as pieces:
        begun = next(pieces) + next(pieces)
    assert "".join(dialogue.ask("Why?")) == answer_to(text_engine, 1, "你好", begun, "Why?")
    assert text_engine.engine.stats().decoding == 0
    # Of one that never began nothing is kept.
    dialogue.reset()
    dialogue.ask("你好").close()
    with closing(dialogue.ask("Who?")) as pieces:
        assert next(pieces)


def test_the_oldest_exchanges_are_forgotten_when_the_context_is_full(narrow):
    forgotten: list[int] = []
    dialogue = Dialogue(narrow, SAMPLING, "Be fair.", lambda: forgotten.append(len(answers)))
    answers: list[str] = []
    for turn in range(8):
        answers.append("".join(dialogue.ask(f"{turn}?")))
    assert len(forgotten) == 1
    assert 1 < forgotten[0] < 7
    # The last answer is to the most that fits.
    for start in range(8):
        turns = [text for n in range(start, 7) for text in (f"{n}?", answers[n])]
        try:
            assert answers[7] == answer_to(narrow, 7, *turns, "7?")
        except UserError:
            continue
        assert 0 < start < 7
        return
    pytest.fail("nothing fits")


def test_a_prompt_that_never_fits_is_refused_and_changes_nothing(narrow):
    dialogue = Dialogue(narrow, SAMPLING, "Be fair.")
    first = "".join(dialogue.ask("你好"))
    with pytest.raises(UserError, match="don't fit the model's context of 160"):
        list(dialogue.ask("! " * 200))
    assert "".join(dialogue.ask("Why?")) == answer_to(narrow, 2, "你好", first, "Why?")
