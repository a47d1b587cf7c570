"""The engine: a request's output doesn't depend on other requests."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from tests.tiny import CONTEXT, EOS_IDS
from vcjax.core.errors import UserError
from vcjax.generate.cache import BLOCK, DecodeState
from vcjax.generate.engine import Engine
from vcjax.generate.requests import Request, SamplingParams
from vcjax.generate.scheduler import RequestState
from vcjax.model.build import abstract, plain_logits


def prompt(seed: int, length: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).integers(100, 700, length).tolist())


@pytest.fixture(scope="module")
def forward(tiny):
    """Float32 logits of the whole text, without a cache."""
    graph, _ = abstract(tiny.config)
    return lambda ids: np.asarray(plain_logits(graph, tiny.params, jnp.asarray([ids])))[0]


@pytest.fixture(scope="module")
def mixed() -> list[Request]:
    """More requests than slots, of all kinds."""
    return [
        Request(prompt(1, 5), SamplingParams(12), eos_ids=EOS_IDS),
        Request(prompt(2, 40), SamplingParams(9, temperature=1.0, seed=2)),
        Request(
            prompt(3, 17), SamplingParams(30, temperature=0.7, top_k=20, seed=3), eos_ids=EOS_IDS
        ),
        Request(prompt(4, 1), SamplingParams(7, temperature=1.3, top_p=0.8, seed=4)),
        Request(
            prompt(5, 120), SamplingParams(20, temperature=1.0, seed=5)
        ),  # outgrows the smallest bucket
        Request(prompt(6, 9), SamplingParams(3)),
        Request(prompt(7, 60), SamplingParams(15, temperature=1.0, seed=7), eos_ids=EOS_IDS),
    ]


@pytest.fixture(scope="module")
def alone(engine, mixed):
    return [engine.generate([request])[0] for request in mixed]


def same(results, others):
    """Equal tokens; the cache's size and the number of slots move the last bits of the scores."""
    for result, other in zip(results, others, strict=True):
        assert (result.tokens, result.finish_reason) == (other.tokens, other.finish_reason)
        np.testing.assert_allclose(result.logprobs, other.logprobs, atol=1e-5)


def test_with_row_buckets_few_requests_decode_few_slots(tiny, mixed, alone, monkeypatch):
    engine = Engine(tiny.config, tiny.params, slots=8, row_buckets=True)
    table, sizes = engine.scheduler.table, []
    batch = table.batch
    monkeypatch.setattr(table, "batch", lambda slots: sizes.append(slots) or batch(slots))
    order = sorted(range(len(mixed)), key=lambda n: -len(alone[n].tokens))
    same(engine.generate([mixed[n] for n in order]), [alone[n] for n in order])
    assert set(sizes) == {1, 4, 8}
    assert sizes == sorted(sizes, reverse=True)  # the longest came first, and sit low


def test_greedy_is_the_argmax_of_the_full_forward_across_buckets(engine, forward):
    ids = prompt(0, 100)
    (result,) = engine.generate([Request(ids, SamplingParams(60))])
    scores = forward([*ids, *result.tokens])[len(ids) - 1 : -1]
    assert result.tokens == tuple(scores.argmax(-1))
    best = scores.max(-1) - np.log(np.exp(scores.astype(np.float64)).sum(-1))
    np.testing.assert_allclose(result.logprobs, best, atol=1e-4)
    assert result.finish_reason == "length"


def test_a_request_is_the_same_among_others_in_any_order(engine, mixed, alone):
    same(engine.generate(mixed), alone)
    same(engine.generate(mixed[::-1]), alone[::-1])
    same(engine.generate([mixed[2]] * 6), [alone[2]] * 6)


def test_a_request_gets_the_same_to_the_bit_alone_and_beside_15_in_any_order(tiny):
    crowd = Engine(tiny.config, tiny.params, slots=16, part=128, step_tokens=64)
    asked = [
        Request(prompt(n, 1 + 37 * n % 230), SamplingParams(4 + n % 7, temperature=n % 2, seed=n))
        for n in range(16)
    ]
    together = crowd.generate(asked)
    assert crowd.stats().pooled_tokens == 0
    # From here on the prompts' first blocks come from the pool.
    assert crowd.generate(asked[::-1])[::-1] == together
    assert [crowd.generate([asked[n]])[0] for n in (3, 6, 14)] == [together[n] for n in (3, 6, 14)]
    assert crowd.stats().pooled_tokens > 0


def test_prompts_that_start_alike_are_run_after_the_first_of_them(tiny):
    own = Engine(tiny.config, tiny.params, slots=4)
    shared = prompt(1, 2 * BLOCK)
    own.generate([Request((*shared, n, n), SamplingParams(2)) for n in range(100, 104)])
    assert own.stats().pooled_tokens == 3 * 2 * BLOCK


def test_prompts_that_fail_together_run_alone(tiny, monkeypatch):
    prefill, asked = (
        DecodeState.prefill,
        [Request(prompt(n, 40), SamplingParams(3)) for n in (1, 2)],
    )

    def failing(state, params, chunks):
        if any(chunk.tokens[:5] == asked[1].prompt[:5] for chunk in chunks):
            raise MemoryError("RESOURCE_EXHAUSTED")
        return prefill(state, params, chunks)

    own, ended = Engine(tiny.config, tiny.params, slots=2), {}
    (expected,) = own.generate(asked[:1])
    monkeypatch.setattr(DecodeState, "prefill", failing)
    states = [
        RequestState(n, one, lambda event: ended.__setitem__(event.index, event))
        for n, one in enumerate(asked)
    ]
    for state in states:
        own.enqueue(state)
    while own.step():
        pass
    assert [ended[n].finish_reason for n in (0, 1)] == ["length", "error"]
    assert ended[0].logprob == expected.logprobs[-1]


def test_the_number_of_slots_changes_no_token(tiny, mixed, alone):
    two = Engine(tiny.config, tiny.params, slots=2).generate(mixed)
    same(two, alone)


def test_a_grown_cache_gives_the_tokens_of_one_that_was_large_from_the_start(engine):
    growing = Request(prompt(5, 120), SamplingParams(20, temperature=1.0, seed=5))
    large = Request(prompt(9, 200), SamplingParams(25))
    (grown,) = engine.generate([growing])
    assert engine.generate([large, growing])[1].tokens == grown.tokens


def test_equal_seeds_draw_equal_tokens_and_others_differ(engine):
    def drawn(seed):
        return engine.generate(
            [Request(prompt(1, 5), SamplingParams(12, temperature=1.0, seed=seed))]
        )[0].tokens

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in (1, 2, 3, 2**32 - 1)}) == 4


def test_results_are_reported_as_they_finish(engine, mixed, alone):
    reported = {}
    engine.generate(mixed, lambda index, result: reported.__setitem__(index, result))
    assert set(reported) == set(range(len(mixed)))
    same([reported[index] for index in range(len(mixed))], alone)


def test_every_eos_id_ends_a_request_and_is_not_part_of_it(engine):
    (free,) = engine.generate([Request(prompt(1, 5), SamplingParams(12))])
    for index in (0, 3, 11):
        ends = (free.tokens[index], 999_999)
        first = free.tokens.index(free.tokens[index])
        for eos_ids in (ends, ends[::-1]):
            (cut,) = engine.generate([Request(prompt(1, 5), SamplingParams(12), eos_ids=eos_ids)])
            assert cut.tokens == free.tokens[:first]
            assert cut.logprobs == free.logprobs[:first]
            assert cut.finish_reason == "stop"


def test_max_tokens_ends_a_request_by_length(engine):
    (result,) = engine.generate([Request(prompt(1, 5), SamplingParams(1))])
    assert (len(result.tokens), result.finish_reason) == (1, "length")


def test_no_requests_give_no_results(engine):
    assert engine.generate([]) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": ()}, "prompt is empty"),
        ({"max_tokens": 0}, "max_tokens must be at least 1, not 0"),
        ({"temperature": -0.5}, "temperature must be at least 0 and at most 10000, not -0.5"),
        (
            {"temperature": float("nan")},
            "temperature must be at least 0 and at most 10000, not nan",
        ),
        (
            {"temperature": float("inf")},
            "temperature must be at least 0 and at most 10000, not inf",
        ),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, not 0.0"),
        ({"top_p": 1.5}, "top_p must be above 0 and at most 1, not 1.5"),
        ({"top_k": -1}, "top_k must be at least 0 and at most 2147483647, not -1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": 2**32}, "seed must be at least 0"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(changes, message):
    prompt = changes.get("prompt", (1,))
    sampling = {name: value for name, value in changes.items() if name != "prompt"}
    with pytest.raises(UserError, match=message):
        Request(prompt, SamplingParams(**{"max_tokens": 1, **sampling}))


def test_a_request_beyond_the_context_is_refused_with_the_numbers(engine):
    Request((1,) * (CONTEXT - 6), SamplingParams(6)).check(engine.config, CONTEXT)
    with pytest.raises(UserError, match=f"4000 tokens and 97 new ones.*context of {CONTEXT}"):
        engine.generate([Request((1,) * 4000, SamplingParams(97))])


def test_a_token_outside_the_vocabulary_is_refused(engine, tiny):
    size = tiny.config.vocab_size
    with pytest.raises(UserError, match=f"token {size} isn't in the model's vocabulary of {size}"):
        engine.generate([Request((1, size), SamplingParams(1))])


def test_the_context_that_is_served_bounds_the_cache(tiny):
    bounded = Engine(tiny.config, tiny.params, slots=2, context=200, prefix_tokens=0)
    fits = Request(tuple(range(100, 290)), SamplingParams(10))
    (result,) = bounded.generate([fits])
    assert result.finish_reason == "length"
    assert bounded._state.context == 256  # whole blocks
    assert bounded.planned_bytes == bounded._state.planned_bytes(256)
    with pytest.raises(
        UserError, match=f"190 tokens and 11 new ones don't fit the context of 200 .*is {CONTEXT}"
    ):
        bounded.generate([replace(fits, sampling=SamplingParams(11))])
