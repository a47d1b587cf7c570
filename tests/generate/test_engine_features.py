"""The engine against plain decoding: prefixes, prefill chunks, stopping, penalties, weights."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from tests.generate.transfers import recorded_transfers
from tests.tiny import EOS_IDS
from vcjax.core.errors import UserError
from vcjax.generate import programs
from vcjax.generate.cache import BLOCK
from vcjax.generate.engine import Engine
from vcjax.generate.requests import Request, SamplingParams
from vcjax.model.build import initialise


def prompt(seed: int, length: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).integers(100, 700, length).tolist())


def same(results, others, atol=1e-5):
    for result, other in zip(results, others, strict=True):
        assert (result.tokens, result.finish_reason) == (other.tokens, other.finish_reason)
        np.testing.assert_allclose(result.logprobs, other.logprobs, atol=atol)


@pytest.fixture(scope="module")
def shared() -> list[Request]:
    """Requests with a common prefix of ten blocks."""
    prefix = prompt(1, 10 * BLOCK + 5)
    return [
        Request(
            (*prefix, *prompt(seed, 3 + seed)), SamplingParams(8, temperature=seed % 2, seed=seed)
        )
        for seed in range(2, 10)
    ]


@pytest.fixture(scope="module")
def unshared(tiny, shared):
    """Their results where no prefix is kept."""
    return Engine(tiny.config, tiny.params, slots=4, prefix_tokens=0).generate(shared)


def test_a_kept_prefix_changes_nothing_and_is_run_once(tiny, shared, unshared):
    engine = Engine(tiny.config, tiny.params, slots=4)
    same(engine.generate(shared), unshared)
    stats = engine.stats()
    assert stats.prompt_tokens == sum(len(request.prompt) for request in shared)
    assert stats.pooled_tokens == (len(shared) - 1) * 10 * BLOCK
    same(engine.generate(shared), unshared)


def test_a_pool_that_is_too_small_changes_nothing(tiny, shared, unshared):
    engine = Engine(tiny.config, tiny.params, slots=4, prefix_tokens=4 * BLOCK)
    same(engine.generate(shared), unshared)
    assert 0 < engine.stats().pooled_tokens <= len(shared) * 4 * BLOCK


def test_a_prompt_in_chunks_beside_decoding_requests_gets_the_same(tiny, shared, unshared):
    engine = Engine(tiny.config, tiny.params, slots=4, part=64, step_tokens=64)
    same(engine.generate(shared), unshared)


def test_other_parameters_are_loaded_without_compiling_and_forget_the_prefixes(tiny, shared):
    other = jax.tree.map(np.asarray, initialise(tiny.config, 8))
    fresh = Engine(tiny.config, other, slots=4).generate(shared)
    engine = Engine(tiny.config, tiny.params, slots=4)
    before = engine.generate(shared)
    compiled = programs.decode._cache_size(), programs.prefill._cache_size()
    engine.load(other)
    same(engine.generate(shared), fresh)
    engine.load(tiny.params)
    same(engine.generate(shared), before)
    assert (programs.decode._cache_size(), programs.prefill._cache_size()) == compiled


def test_a_step_uploads_one_array_and_downloads_one(tiny, monkeypatch):
    """Nothing else goes to the devices, with prompts, prefixes, penalties and biases too: the guard
    would raise. Biases and masks go there once, and again where they change."""
    uploads, downloads = recorded_transfers(monkeypatch)
    engine = Engine(tiny.config, tiny.params, slots=4)
    busy = SamplingParams(
        6, temperature=1.0, top_k=20, repetition_penalty=1.2, logit_bias={5: -1.0}, top_logprobs=2
    )
    with jax.transfer_guard_host_to_device("disallow"):
        engine.generate([Request(prompt(seed, 2 * BLOCK + 3), busy) for seed in (1, 1, 2)])
        uploads.clear()
        engine.generate([Request(prompt(3, 5), SamplingParams(10))])  # clears the bias
        assert len(uploads) == 1 + 10 + 1
        uploads.clear(), downloads.clear()
        (plain,) = engine.generate([Request(prompt(3, 5), SamplingParams(10))])
        assert len(uploads) == 1 + 10  # the prompt and the steps
        assert len(downloads) == 10
        uploads.clear()
        early = SamplingParams(10, min_tokens=4)
        engine.generate([Request(prompt(3, 5), early, eos_ids=plain.tokens[-1:])])
        assert len(uploads) == 1 + 10 + 5  # the mask: EOS forbidden in four steps, and free again


def test_parameters_of_another_shape_are_refused(engine, tiny):
    wider = replace(tiny.config, intermediate_size=96)
    with pytest.raises(UserError, match=r"another model: layers\.0\.down.*\(96, 32\).*\(64, 32\)"):
        engine.load(initialise(wider, 1))


def test_parameters_cannot_change_under_a_request(engine, tiny):
    events = engine.events([Request(prompt(1, 5), SamplingParams(12))])
    next(events)
    with pytest.raises(RuntimeError, match="under way"):
        engine.load(tiny.params)
    events.close()
    assert engine.stats().decoding == 0
    engine.load(tiny.params)


def test_interleaved_streams_get_what_each_gets_alone(engine):
    asked = [
        Request(prompt(seed, 9), SamplingParams(10, temperature=1.0, seed=seed))
        for seed in range(6)
    ]
    alone = [engine.generate([request])[0].tokens for request in asked]
    streams = [engine.stream(request) for request in asked]
    streamed = [[] for _ in asked]
    for _ in range(10):
        for stream, tokens in zip(streams, streamed, strict=True):
            tokens.append(next(stream).token)
    assert [tuple(tokens) for tokens in streamed] == alone


def test_no_eos_before_min_tokens(engine):
    (free,) = engine.generate([Request(prompt(1, 5), SamplingParams(12))])
    ends = tuple(set(free.tokens))
    (late,) = engine.generate(
        [Request(prompt(1, 5), SamplingParams(12, min_tokens=6), eos_ids=(*ends, 10**6))]
    )
    assert len(late.tokens) >= 6
    assert not set(late.tokens[:6]) & set(ends)


class Third:
    """Ends a request at its third token."""

    def __init__(self):
        self.tokens = []

    def accept(self, token: int) -> bool:
        self.tokens.append(token)
        return len(self.tokens) >= 3


def test_a_stopping_criterion_gets_each_token_and_ends_the_request_once_it_may(engine):
    third = Third()
    (result,) = engine.generate([Request(prompt(1, 5), SamplingParams(12), stopping=third)])
    assert (list(result.tokens), result.finish_reason) == (third.tokens, "stop")
    assert len(third.tokens) == 3
    (late,) = engine.generate(
        [Request(prompt(1, 5), SamplingParams(12, min_tokens=7), stopping=Third())]
    )
    assert (len(late.tokens), late.finish_reason) == (7, "stop")


def test_a_bias_decides_and_a_neighbour_does_not_notice(engine):
    plain = Request(prompt(2, 5), SamplingParams(6))
    biased = Request(prompt(1, 5), SamplingParams(6, logit_bias={150: 100.0}))
    (alone,) = engine.generate([plain])
    first, second = engine.generate([biased, plain])
    assert first.tokens == (150,) * 6
    assert second.tokens == alone.tokens
    with pytest.raises(UserError, match="logit_bias: token 99999"):
        engine.generate([Request(prompt(2, 5), SamplingParams(6, logit_bias={99999: 1.0}))])


def test_penalties_count_what_was_generated_and_end_with_the_request(engine):
    ids = prompt(1, 5)
    forced = {150: 60.0, 151: 59.0}
    presence = Request(ids, SamplingParams(6, logit_bias=forced, presence_penalty=2.0))
    (result,) = engine.generate([presence])
    assert set(result.tokens) == {150, 151}
    (again,) = engine.generate([presence])
    assert again.tokens == result.tokens  # nothing is left of the first one's counts
    frequency = SamplingParams(6, logit_bias=forced, frequency_penalty=0.4)
    (frequent,) = engine.generate([Request(ids, frequency)])
    assert sorted(frequent.tokens[-2:]) == [150, 151]
    (repeated,) = engine.generate(
        [Request((*ids, 150), SamplingParams(4, logit_bias={}, repetition_penalty=50.0))]
    )
    assert len(set(repeated.tokens)) == 4
    assert not set(repeated.tokens) & {*ids, 150}


def test_alternatives_are_the_most_likely_tokens_with_the_chosen_one_s_score(engine):
    asked = Request(prompt(1, 5), SamplingParams(6, top_logprobs=4))
    (result,) = engine.generate([asked])
    assert [len(top) for top in result.top] == [4] * 6
    for token, logprob, top in zip(result.tokens, result.logprobs, result.top, strict=True):
        scores = [score for _, score in top]
        assert scores == sorted(scores, reverse=True)
        assert top[0][0] == token
        np.testing.assert_allclose(top[0][1], logprob, atol=1e-6)
    (without,) = engine.generate([Request(prompt(1, 5), SamplingParams(6))])
    assert without.top == ((),) * 6


def test_the_cache_shrinks_again_when_the_long_request_is_gone(tiny):
    engine = Engine(tiny.config, tiny.params, slots=2)
    long = Request(prompt(1, 900), SamplingParams(2))
    short = Request(prompt(2, 5), SamplingParams(90))
    results = engine.generate([long, short])
    assert engine._state.context == 128
    same(results[1:], Engine(tiny.config, tiny.params, slots=2).generate([short]))


def test_eight_bit_weights_give_nearly_the_same_scores(tiny, engine):
    small = Engine(tiny.config, tiny.params, slots=4, weights="int8")
    bytes_of = lambda tree: sum(leaf.nbytes for leaf in jax.tree.leaves(tree))  # noqa: E731
    assert bytes_of(small.params["layers"]) < 0.5 * bytes_of(engine.params["layers"])
    ids = prompt(3, 40)
    (whole,), (coded,) = (
        one.generate([Request(ids, SamplingParams(1))]) for one in (engine, small)
    )
    assert coded.tokens == whole.tokens
    np.testing.assert_allclose(coded.logprobs, whole.logprobs, atol=0.2)
    with pytest.raises(UserError, match="weights must be one of '', 'int8'"):
        Engine(tiny.config, tiny.params, weights="int4")


def test_every_eos_id_is_masked_as_long_as_it_may_not_come(engine):
    (result,) = engine.generate(
        [Request(prompt(4, 6), SamplingParams(40, min_tokens=40, temperature=1.0), eos_ids=EOS_IDS)]
    )
    assert len(result.tokens) == 40
    assert not set(result.tokens) & set(EOS_IDS)


class Full:
    """A constraint that lets nothing but an EOS id come."""

    def mask(self) -> np.ndarray:
        bits = np.zeros((23,), np.uint32)
        bits[0] = 1
        return bits

    def accept(self, token: int) -> bool:
        return True


def test_a_constraint_that_is_satisfied_ends_a_request_before_min_tokens(engine):
    request = Request(
        prompt(1, 5), SamplingParams(12, min_tokens=6), eos_ids=EOS_IDS, constraint=Full()
    )
    (result,) = engine.generate([request])
    assert (result.tokens, result.finish_reason) == ((), "stop")
