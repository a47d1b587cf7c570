"""Sampling: properties against a plain sort, references in NumPy, the frequencies of draws."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from vcjax.generate.requests import MAX_BIASES
from vcjax.generate.sampling import (
    SamplingBatch,
    _draw_by_weight,
    _invert,
    add_biases,
    adjust,
    count,
    draw,
    penalise,
    unpack_mask,
)
from vcjax.generate.truncation import top_k_floor, top_p_floor, truncation_floor

VOCAB = 12
FREE = 0xFFFFFFFF
# Few distinct values make ties; powers of two make sums exact in float32 in any order.
weights = st.lists(st.sampled_from([0, 1, 2, 4, 8, 64]), min_size=VOCAB, max_size=VOCAB).filter(any)
k_floor, p_floor, kept_floor = jax.jit(top_k_floor), jax.jit(top_p_floor), jax.jit(truncation_floor)
drawn, inverted, picked = (
    jax.jit(draw, static_argnames="top"),
    jax.jit(_invert),
    jax.jit(_draw_by_weight),
)
adjusted, penalised, biased = jax.jit(adjust), jax.jit(penalise), jax.jit(add_biases)


def plain(values, rows=1, **changes):
    """The arguments of `draw` for rows of the same scores, at temperature 1 unless changed.

    A setting may be one value for all rows; the flags follow from the settings.
    """
    logits = jnp.tile(jnp.asarray(values, jnp.float32), (rows, 1))
    vocab = logits.shape[1]
    fields = {
        "temperature": np.ones((rows,), np.float32),
        "top_k": np.zeros((rows,), np.int32),
        "top_p": np.ones((rows,), np.float32),
        "min_p": np.zeros((rows,), np.float32),
        "repetition_penalty": np.ones((rows,), np.float32),
        "presence_penalty": np.zeros((rows,), np.float32),
        "frequency_penalty": np.zeros((rows,), np.float32),
        "seeds": np.arange(rows, dtype=np.uint32),
        "steps": np.zeros((rows,), np.int32),
        "bias_ids": np.full((rows, MAX_BIASES), vocab, np.int32),
        "bias_values": np.zeros((rows, MAX_BIASES), np.float32),
        "mask": np.full((rows, (vocab + 31) // 32), FREE, np.uint32),
    }
    counts = jnp.asarray(changes.pop("counts", np.zeros((rows, vocab), np.int32)))
    for name, value in changes.items():
        fields[name] = np.broadcast_to(value, fields[name].shape).astype(fields[name].dtype)
    penalties = (fields["repetition_penalty"] - 1, fields["presence_penalty"])
    flags = {
        "any_penalised": np.any(penalties) or np.any(fields["frequency_penalty"]),
        "any_biased": np.any(fields["bias_ids"] < vocab),
        "any_masked": np.any(fields["mask"] != FREE),
        "any_truncated": np.any(
            (fields["top_k"] > 0) | (fields["top_p"] < 1) | (fields["min_p"] > 0)
        ),
        "any_drawn": np.any(fields["temperature"] > 0),
    }
    return logits, counts, SamplingBatch(**fields, **{k: np.bool_(v) for k, v in flags.items()})


def words(allowed):
    """A mask of the tokens that are allowed in each row."""
    width = -len(allowed[0]) % 32
    bits = np.pad(np.asarray(allowed, bool), ((0, 0), (0, width)))
    return np.packbits(bits, axis=1, bitorder="little").view("<u4")


def kept_by_rank(probabilities, reached) -> set[int]:
    """The shortest prefix of the tokens by falling probability that is enough, ties included."""
    order = np.argsort(-probabilities, kind="stable")
    for number in range(1, len(order) + 1):
        if reached(order[:number]):
            break
    last = probabilities[order[number - 1]]
    return {int(token) for token in np.flatnonzero((probabilities >= last) & (probabilities > 0))}


def left(probabilities, floor) -> set[int]:
    return set(np.flatnonzero((probabilities >= np.asarray(floor)[0]) & (probabilities > 0)))


def assert_share(tokens, token, share):
    low, high = binom.interval(1 - 1e-6, len(tokens), share)
    assert low <= int((np.asarray(tokens) == token).sum()) <= high


@settings(deadline=None, max_examples=200)
@given(weights=weights, k=st.integers(0, VOCAB + 2))
def test_top_k_keeps_the_k_most_likely_and_their_ties(weights, k):
    weights = np.float32(weights)
    wanted = kept_by_rank(weights, lambda first: len(first) == (k or VOCAB))
    assert left(weights, k_floor(weights[None], np.int32([k]))) == wanted


@settings(deadline=None, max_examples=200)
@given(weights=weights, sixteenths=st.integers(1, 16))
def test_top_p_keeps_the_shortest_prefix_that_reaches_the_mass_and_its_ties(weights, sixteenths):
    weights, top_p = np.float32(weights), np.float32(sixteenths / 16)
    floor = p_floor(weights[None], top_p[None], np.zeros(1, "f4"))
    wanted = kept_by_rank(weights, lambda first: weights[first].sum() >= top_p * weights.sum())
    assert left(weights, floor) == wanted


@settings(deadline=None, max_examples=200)
@given(weights=weights, sixteenths=st.integers(0, 16))
def test_min_p_keeps_what_has_that_share_of_the_largest(weights, sixteenths):
    weights, min_p = np.float32(weights), np.float32(sixteenths / 16)
    floor = kept_floor(weights[None], np.zeros(1, "i4"), np.ones(1, "f4"), min_p[None])
    wanted = (weights >= min_p * weights.max()) & (weights > 0)
    assert left(weights, floor) == set(np.flatnonzero(wanted))


def test_top_p_is_of_what_top_k_left_and_min_p_of_what_both_left():
    weights = np.float32([[8, 4, 2, 1, 1]])  # the shares of the first three: 8, 4 and 2 of 14
    of_all = kept_floor(weights, np.int32([0]), np.float32([0.8]), np.float32([0]))
    of_three = kept_floor(weights, np.int32([3]), np.float32([0.8]), np.float32([0]))
    above_half = kept_floor(weights, np.int32([3]), np.float32([0.99]), np.float32([0.5]))
    assert left(weights[0], of_all) == {0, 1, 2}
    assert left(weights[0], of_three) == {0, 1}
    assert left(weights[0], above_half) == {0, 1}


@pytest.mark.parametrize(
    "change", [{"top_p": 1e-30}, {"top_k": 1}, {"min_p": 1.0}, {"temperature": 1e-38}]
)
def test_the_most_likely_token_survives_the_strictest_setting(change):
    tokens = drawn(*plain([0.0, 40.0, 39.9], 64, **change)).tokens
    assert set(tokens.tolist()) == {1}


def test_temperature_zero_is_the_most_likely_allowed_token():
    mask = words([[1, 1, 1], [1, 0, 1], [0, 0, 1]])
    tokens = drawn(*plain([1.0, 3.0, 2.0], 3, mask=mask, temperature=0)).tokens
    assert tokens.tolist() == [1, 2, 2]


def test_of_equally_likely_tokens_greedy_takes_the_first():
    assert drawn(*plain([1.0, 3.0, 3.0], temperature=0)).tokens.tolist() == [1]


def test_greedy_rows_stay_greedy_beside_sampled_ones():
    tokens = drawn(*plain([1.0, 1.1, 1.05], 128, temperature=[0, 5] * 64)).tokens
    assert set(tokens[::2].tolist()) == {1}
    assert set(tokens[1::2].tolist()) == {0, 1, 2}


def test_a_token_that_is_not_allowed_is_never_drawn_however_likely_or_biased():
    mask = words([[0, 1, 0, 1]] * 256)
    ids = np.full((256, MAX_BIASES), 4)
    ids[:, 0] = 0
    tokens = drawn(*plain([30.0, 0, 20, 0.5], 256, mask=mask, bias_ids=ids, bias_values=99)).tokens
    assert set(tokens.tolist()) == {1, 3}


def test_a_bias_is_added_to_its_token_and_unused_entries_to_none():
    logits = np.float32([[1, 2, 3], [1, 2, 3]])
    changed = biased(logits, np.int32([[2, 0, 3], [3, 1 << 30, 3]]), np.float32([[-5, 1, 9]] * 2))
    assert changed.tolist() == [[2, 2, -2], [1, 2, 3]]


@settings(deadline=None, max_examples=100)
@given(
    logits=st.lists(st.floats(-50, 50, width=32), min_size=4, max_size=4),
    generated=st.lists(st.integers(0, 5), min_size=4, max_size=4),
    prompt=st.lists(st.integers(0, 1), min_size=4, max_size=4),
    repetition=st.floats(0.5, 2),
    presence=st.floats(-2, 2),
    frequency=st.floats(-2, 2),
)
def test_penalties_are_those_of_their_definitions(
    logits, generated, prompt, repetition, presence, frequency
):
    wanted = []
    for logit, made, given_ in zip(logits, generated, prompt, strict=True):
        if made or given_:
            logit = logit / repetition if logit > 0 else logit * repetition
        wanted.append(logit - (presence if made else 0) - frequency * made)
    counts = np.int32([generated]) * 2 + np.int32([prompt])
    rows = (np.float32([value]) for value in (repetition, presence, frequency))
    found = penalised(np.float32([logits]), counts, *rows)
    np.testing.assert_allclose(found[0], wanted, rtol=1e-5, atol=1e-5)


def test_a_generated_token_is_counted_beside_the_prompt():
    counts = jnp.int32([[1, 0, 0], [0, 1, 0]])
    for tokens in ([0, 2], [0, 1]):
        counts = count(counts, jnp.int32(tokens))
    assert counts.tolist() == [[5, 0, 0], [0, 3, 2]]


def everything(rows, vocab, rng):
    """Settings of rows that ask for all there is."""
    return {
        "temperature": rng.uniform(0.2, 2, rows),
        "top_k": rng.integers(5, 50, rows),
        "top_p": rng.uniform(0.5, 0.9, rows),
        "min_p": rng.uniform(0.01, 0.1, rows),
        "repetition_penalty": rng.uniform(1.1, 1.5, rows),
        "presence_penalty": rng.uniform(0.1, 1, rows),
        "frequency_penalty": rng.uniform(0.1, 1, rows),
        "bias_ids": rng.integers(0, vocab, (rows, MAX_BIASES)),
        "bias_values": rng.uniform(-5, 5, (rows, MAX_BIASES)),
        "mask": rng.integers(1, FREE, (rows, (vocab + 31) // 32)),
    }


@pytest.mark.parametrize("own", ["nothing", "temperature", "all"])
def test_a_row_s_draw_is_the_same_to_the_bit_whatever_the_others_ask(own):
    rows, vocab = 6, 1000
    rng = np.random.default_rng(5)
    counts = rng.integers(0, 3, (rows, vocab)).astype(np.int32)
    logits = jnp.asarray(rng.normal(0, 4, (rows, vocab)), jnp.float32)
    _, _, idle = plain(np.zeros(vocab), rows, temperature=0)
    _, _, busy = plain(np.zeros(vocab), rows, **everything(rows, vocab, rng))
    mine = busy if own == "all" else idle
    if own == "temperature":
        mine = replace(idle, temperature=np.full(rows, 0.9, "f4"), any_drawn=np.bool_(True))

    def beside(row, others):
        """The settings with `row`'s own, those of the others from `others`."""
        mixed = {}
        for name, value in vars(mine).items():
            other = getattr(others, name)
            if np.ndim(value):
                mixed[name] = np.where(
                    (np.arange(rows) == row).reshape(-1, *[1] * (np.ndim(value) - 1)), value, other
                )
            else:
                mixed[name] = value | other
        return SamplingBatch(**mixed)

    for row in range(rows):
        found = []
        for others in (idle, busy):
            chosen = beside(row, others)
            steps = [replace(chosen, steps=np.full(rows, n, "i4")) for n in range(20)]
            draws = [drawn(logits, counts, step, top=3) for step in steps]
            changed = np.asarray(adjusted(logits, counts, chosen))[row]
            found.append(
                (changed.tolist(), [[np.asarray(x)[row].tolist() for x in d] for d in draws])
            )
        assert found[0] == found[1]
        if own != "all":
            assert found[0][0] == logits[row].tolist()


def test_log_probabilities_are_those_of_the_plain_model():
    values = np.float32([1.0, 3.0, 2.0, -1.0])
    wanted = values - np.log(np.exp(values).sum())
    rng = np.random.default_rng(1)
    settings = {**everything(8, 4, rng), "mask": words([[1, 1, 0, 1]] * 8), "top_k": 0, "top_p": 1}
    chosen = drawn(*plain(values, 8, **settings), top=2)
    np.testing.assert_allclose(chosen.logprobs, wanted[np.asarray(chosen.tokens)], rtol=1e-6)
    assert chosen.top_ids.tolist() == [[1, 2]] * 8
    np.testing.assert_allclose(chosen.top_logprobs, [wanted[[1, 2]]] * 8, rtol=1e-6)


def test_no_alternatives_are_returned_unless_requested():
    chosen = drawn(*plain([1.0, 3.0], 2))
    assert chosen.top_ids.shape == chosen.top_logprobs.shape == (2, 0)


@pytest.mark.parametrize("vary", ["seeds", "steps"])
def test_draws_have_the_distribution_s_frequencies(vary):
    rows, wanted = 4096, np.array([0.6, 0.3, 0.1])
    counted = {"seeds": 5, "steps": 3, vary: np.arange(rows)}
    tokens = drawn(*plain(np.log(wanted), rows, **counted)).tokens
    for token, share in enumerate(wanted):
        assert_share(tokens, token, share)


def test_draws_over_many_blocks_have_the_distribution_s_frequencies():
    rows, vocab = 4096, 1000
    shares = np.random.default_rng(2).dirichlet(np.full(vocab, 0.01))
    tokens = np.asarray(drawn(*plain(np.log(shares + 1e-30), rows)).tokens)
    for token in np.argsort(-shares)[:8]:
        assert_share(tokens, token, shares[token])
    for start in range(0, vocab, 100):
        assert_share(tokens // 100, start // 100, shares[start : start + 100].sum())


def test_draws_are_from_what_is_kept_alone():
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    tokens = drawn(*plain(np.log(shares), 4096, top_k=[0, 2] * 2048, top_p=[0.75, 1] * 2048)).tokens
    for token, share in enumerate([4 / 9, 3 / 9, 2 / 9, 0]):
        assert_share(tokens[::2], token, share)
    for token, share in enumerate([4 / 7, 3 / 7, 0, 0]):
        assert_share(tokens[1::2], token, share)


def test_temperature_is_the_exponent_of_the_probabilities():
    tokens = drawn(*plain(np.log([0.8, 0.2]), 4096, temperature=2)).tokens
    assert_share(tokens, 1, np.sqrt(0.2) / (np.sqrt(0.8) + np.sqrt(0.2)))


below_one = np.nextafter(np.float32(1), np.float32(0))


@settings(deadline=None, max_examples=300)
@given(
    weights=st.lists(
        st.sampled_from([0.0, 0.0, 1e-45, 2e-38, 1e-7, 0.1, 0.3, 1.0]), min_size=64, max_size=64
    ).filter(lambda weights: max(weights) > 1e-38),
    uniform=st.sampled_from([0.0, 1e-7, 0.1, 0.5, 0.7, float(below_one)]),
)
def test_a_choice_of_weight_zero_is_never_made_however_the_sums_round(weights, uniform):
    weights = np.float32(weights)
    choice = int(inverted(weights[None], np.float32([uniform]))[0])
    assert 0 <= choice < 64
    assert weights[choice] > 0


@settings(deadline=None, max_examples=100)
@given(
    tokens=st.lists(st.integers(0, 699), min_size=1, max_size=4),
    uniforms=st.tuples(*[st.sampled_from([0.0, 0.3, float(below_one)])] * 2),
)
def test_a_token_that_may_not_be_drawn_never_is_at_the_ends_of_the_uniforms(tokens, uniforms):
    weights = np.zeros((1, 700), np.float32)  # not a multiple of the block
    weights[0, tokens] = 0.1
    choice = int(picked(weights, np.zeros(1, "f4"), np.float32([uniforms]))[0])
    assert choice in tokens


@settings(deadline=None, max_examples=50)
@given(words=st.lists(st.integers(0, 2**32 - 1), min_size=3, max_size=3))
def test_masks_are_unpacked_lowest_bit_first(words):
    bits = np.uint32(words)[None]
    wanted = np.unpackbits(bits.astype("<u4").view(np.uint8), bitorder="little")[:70]
    assert np.asarray(unpack_mask(bits, 70))[0].tolist() == wanted.astype(bool).tolist()
