"""Completions and scores of given texts, through OpenAI's own client."""

import itertools

import numpy as np
import pytest

from vcjax.generate.requests import Request, SamplingParams
from vcjax.generate.scoring import score
from vcjax.generate.text import encode_prompt

TEXTS = ["Grade the answer.", "一句话：公平的回答", "Reply with JSON only"]


@pytest.fixture
def complete(client):
    """Asks with the settings given."""

    def ask(prompt, **given):
        settings = {"model": "tiny", "max_tokens": 8, "seed": 3} | given
        return client.completions.create(prompt=prompt, **settings)

    return ask


@pytest.fixture
def ids(text_engine):
    return [encode_prompt(text_engine.tokenizer, text) for text in TEXTS]


def test_texts_and_ids_are_continued_alike(complete, text_engine, ids):
    expected = text_engine.generate(TEXTS, SamplingParams(8, temperature=1.0, seed=3))
    assert [choice.text for choice in complete(TEXTS).choices] == expected
    assert [choice.text for choice in complete(list(map(list, ids))).choices] == expected
    assert complete(TEXTS[0]).choices[0].text == expected[0]
    assert complete(list(ids[0])).choices[0].text == expected[0]
    several = complete(TEXTS, n=2, echo=True)
    assert [choice.index for choice in several.choices] == list(range(6))
    for choice in several.choices:
        assert choice.text.startswith(TEXTS[choice.index // 2])
    assert several.usage.prompt_tokens == sum(map(len, ids))


def test_a_stream_adds_up_to_the_whole_text(complete):
    whole = complete(TEXTS, echo=True, logprobs=2)
    texts, names = [""] * 3, [[] for _ in TEXTS]
    for chunk in complete(TEXTS, echo=True, logprobs=2, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            if choice.logprobs:
                names[choice.index] += choice.logprobs.tokens
    assert texts == [choice.text for choice in whole.choices]
    assert names == [choice.logprobs.tokens for choice in whole.choices]


def test_a_given_text_is_scored_as_the_model_scores_it(complete, text_engine, ids):
    engine = text_engine.engine
    scored = score(engine.graph, engine.params, [(each, 1) for each in ids], top=3)
    for max_tokens in (0, 1):
        answer = complete(
            list(map(list, ids)), echo=True, logprobs=3, max_tokens=max_tokens, temperature=0
        )
        for choice, tokens, expected in zip(answer.choices, ids, scored, strict=True):
            logprobs = choice.logprobs
            assert len(logprobs.tokens) == len(tokens) + max_tokens
            assert logprobs.token_logprobs[0] is logprobs.top_logprobs[0] is None
            given = logprobs.token_logprobs[1 : len(tokens)]
            np.testing.assert_allclose(given, expected.logprobs, atol=1e-4)
            tops = logprobs.top_logprobs[1 : len(tokens)]
            greedy = [max(top.values()) == one for top, one in zip(tops, given, strict=True)]
            assert greedy == list(expected.greedy)
            assert all(len(top) in (3, 4) for top in tops)


def test_an_evaluation_harness_finds_every_token_at_its_position(complete, text_engine, ids):
    """lm-eval's `local-completions` drops the last position: that of the one requested token, which
    must be there also where it is EOS."""
    tokens = list(ids[0])
    engine = text_engine.engine
    # Some greedy continuations of random prompts end at once.
    rng = np.random.default_rng(0)
    prompts = [rng.integers(100, 700, 6).tolist() for _ in range(40)]
    requests = [
        Request(tuple(prompt), SamplingParams(1), eos_ids=text_engine.eos_ids) for prompt in prompts
    ]
    ended = [
        prompt
        for prompt, result in zip(prompts, engine.generate(requests), strict=True)
        if not result.tokens
    ]
    assert ended
    answer = complete([tokens, ended[0]], echo=True, logprobs=1, max_tokens=1, temperature=0)
    for choice, prompt in zip(answer.choices, (tokens, ended[0]), strict=True):
        assert len(choice.logprobs.token_logprobs) == len(prompt) + 1
        (expected,) = score(engine.graph, engine.params, [(prompt, 2)])
        np.testing.assert_allclose(
            choice.logprobs.token_logprobs[2:-1], expected.logprobs, atol=1e-4
        )
    assert answer.choices[1].finish_reason == "stop"
    assert answer.choices[1].logprobs.tokens[-1].startswith("<|end")


def test_text_offsets_are_those_of_the_tokens(complete):
    for choice in complete(TEXTS, echo=True, logprobs=0, max_tokens=6, temperature=0).choices:
        logprobs = choice.logprobs
        assert logprobs.top_logprobs is None
        offsets = [*logprobs.text_offset, len(choice.text)]
        assert offsets == sorted(offsets)
        for token, (start, end) in zip(logprobs.tokens, itertools.pairwise(offsets), strict=True):
            if not token.startswith(("bytes:", "<|")):
                assert choice.text[start:end] == token
        if choice.index == 1:  # Chinese characters that the tokenizer parts
            assert any(token.startswith("bytes:\\x") for token in logprobs.tokens)
