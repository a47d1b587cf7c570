"""Scores of a prompt that come from its own prefill: no second pass, and nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest

from tests.tiny import EOS_IDS
from vcjax.generate.engine import Engine
from vcjax.generate.requests import Request, SamplingParams
from vcjax.generate.scoring import score

TOP = 3


def prompt(seed: int, length: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).integers(100, 700, length).tolist())


@pytest.fixture(scope="module")
def chunked(tiny) -> Engine:
    """Runs prompts in parts of 64 tokens, one between two steps; fewer slots than requests."""
    return Engine(tiny.config, tiny.params, slots=2, part=64, step_tokens=64)


@pytest.fixture(scope="module")
def requests() -> list[Request]:
    sizes, shared = (1, 2, 33, 64, 65, 200), prompt(7, 150)
    made = [
        Request(prompt(n, size), SamplingParams(9, temperature=1.0, seed=n), eos_ids=EOS_IDS)
        for n, size in enumerate(sizes)
    ]
    # Two with a prefix that the pool has by the time of the second one.
    return [*made, *(Request((*shared, n), SamplingParams(6)) for n in (100, 101))]


def first_events(engine: Engine, requests: list[Request]) -> dict:
    found: dict = {}
    for event in engine.events(requests):
        assert event.index not in found or event.prompt is None
        found.setdefault(event.index, event)
    return found


def check(scored, ids, engine) -> None:
    if len(ids) == 1:
        assert scored.logprobs == scored.greedy == scored.ranks == scored.top == ()
        return
    (expected,) = score(engine.graph, engine.params, [(ids, 1)], top=TOP)
    np.testing.assert_allclose(scored.logprobs, expected.logprobs, atol=1e-4)
    assert (scored.greedy, scored.ranks) == (expected.greedy, expected.ranks)
    for own, other in zip(scored.top, expected.top, strict=True):
        assert [token for token, _ in own] == [token for token, _ in other]
        np.testing.assert_allclose([p for _, p in own], [p for _, p in other], atol=1e-4)


def test_a_prompt_has_the_scores_of_a_pass_of_its_own(chunked, requests):
    scored = [replace(request, prompt_top=TOP) for request in requests]
    for index, event in first_events(chunked, scored).items():
        check(event.prompt, requests[index].prompt, chunked)
    assert all(event.prompt is None for event in first_events(chunked, requests).values())


def test_the_continuation_is_bit_for_bit_that_without_scores(tiny, requests):
    def engine() -> Engine:  # without a pool, which would cut a prompt into other chunks
        options = {"slots": 2, "part": 64, "step_tokens": 64, "prefix_tokens": 0}
        return Engine(tiny.config, tiny.params, **options)

    scored = [replace(request, prompt_top=TOP) for request in requests]
    assert engine().generate(scored) == engine().generate(requests)


def test_a_prompt_that_is_only_scored_may_fill_the_context_and_draws_nothing(tiny):
    config = replace(tiny.config, max_position=200)
    chunked = Engine(config, tiny.params, slots=2, part=64, step_tokens=64)
    full, short = prompt(1, 200), prompt(2, 90)
    before = chunked.stats()
    asked = [
        Request(ids, SamplingParams(1), prompt_top=TOP, is_scored_only=True)
        for ids in (full, short)
    ]
    events = list(chunked.events(asked))
    assert [(event.token, event.finish_reason) for event in events] == [(None, "length")] * 2
    for event in events:
        check(event.prompt, asked[event.index].prompt, chunked)
    after = chunked.stats()
    assert after.steps == before.steps
    assert after.new_tokens == before.new_tokens
    assert after.prompt_tokens - before.prompt_tokens == len(full) + len(short)
