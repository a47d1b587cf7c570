"""Tests log-probabilities of given texts against the full forward pass."""

import string
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import pytest

import vcjax
from tests.tiny import CONTEXT
from vcjax.core.errors import UserError
from vcjax.generate.likelihood import log_likelihood
from vcjax.model.build import abstract
from vcjax.text.rendering import render_prompt

CHAT = [{"role": "user", "content": "你好 Why?"}]


@pytest.fixture(scope="module")
def model(tiny_folder):
    return vcjax.load(str(tiny_folder))


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
    with pytest.raises(UserError, match="context 1: its answers must be a list"):
        model.score_answers([CHAT, CHAT], [["So."], "So."])
    with pytest.raises(UserError, match="2 contexts and 1 lists of answers"):
        model.score_answers([CHAT, CHAT], [["So."]])
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
    with pytest.raises(UserError, match="1 contexts and 2 continuations"):
        model.log_likelihood(["Both"], ["a", "b"])
    graph, _ = abstract(tiny.config)
    with pytest.raises(UserError, match="doesn't fit a context of 4"):
        log_likelihood(
            graph, tiny.params, tiny.tokenizer, ["Both sides"], [" have a case."], max_position=4
        )
