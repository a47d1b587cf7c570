"""Choosing a token: laws against a plain sort, and the frequencies of draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from vcjax.generate.sampling import _most_likely, _nucleus, sample, unpack_mask

VOCAB = 12
# Few distinct values make ties; powers of two make sums exact in float32 in any order.
weights = st.lists(st.sampled_from([0, 1, 2, 4, 8, 64]), min_size=VOCAB, max_size=VOCAB).filter(any)
most_likely, nucleus, draw = jax.jit(_most_likely), jax.jit(_nucleus), jax.jit(sample)


def kept_by_rank(probabilities, reached) -> set[int]:
    """The shortest prefix of the tokens by falling probability that is enough, ties included."""
    order = np.argsort(-probabilities, kind="stable")
    for count in range(1, len(order) + 1):
        if reached(order[:count]):
            break
    last = probabilities[order[count - 1]]
    return {int(token) for token in np.flatnonzero((probabilities >= last) & (probabilities > 0))}


def plain(values, rows=1, **changes):
    """The arguments of `sample` for rows of the same scores."""
    logits = jnp.tile(jnp.asarray(values, jnp.float32), (rows, 1))
    setting = {
        "allowed": jnp.ones(logits.shape, bool),
        "temperature": jnp.ones((rows,)),
        "top_k": jnp.zeros((rows,), jnp.int32),
        "top_p": jnp.ones((rows,)),
        "seeds": jnp.arange(rows, dtype=jnp.uint32),
        "steps": jnp.zeros((rows,), jnp.int32),
    }
    return {"logits": logits, **setting, **changes}


@settings(deadline=None, max_examples=200)
@given(weights=weights, k=st.integers(0, VOCAB + 2))
def test_top_k_keeps_the_k_most_likely_and_their_ties(weights, k):
    probabilities = np.float32(weights) / np.float32(sum(weights))
    left = np.asarray(most_likely(probabilities[None], np.int32([k])))[0]
    wanted = kept_by_rank(probabilities, lambda first: len(first) == (k or VOCAB))
    assert set(np.flatnonzero(left)) == wanted
    np.testing.assert_allclose(left.sum(), 1, rtol=1e-6)


@settings(deadline=None, max_examples=200)
@given(weights=weights, sixteenths=st.integers(1, 16))
def test_top_p_keeps_the_shortest_prefix_that_reaches_the_mass_and_its_ties(weights, sixteenths):
    # Scaled to a power of two: sums are exact, so that "reaches" means the same on both sides.
    probabilities = np.float32(weights) / np.float32(1024)
    total = probabilities.sum()
    top_p = np.float32(total * sixteenths / 16)
    left = np.asarray(nucleus(probabilities[None], top_p[None]))[0]
    wanted = kept_by_rank(probabilities, lambda first: probabilities[first].sum() >= top_p)
    assert set(np.flatnonzero(left)) == wanted


def test_the_most_likely_token_survives_the_smallest_top_p_and_temperature():
    tokens, _ = draw(
        **plain([0.0, 40.0, 39.0], 2, top_p=np.float32([0, 1]), temperature=np.float32([1, 1e-38]))
    )
    assert tokens.tolist() == [1, 1]


def test_temperature_zero_is_the_most_likely_allowed_token():
    allowed = np.bool_([[1, 1, 1], [1, 0, 1], [0, 0, 1]])
    tokens, _ = draw(**plain([1.0, 3.0, 2.0], 3, allowed=allowed, temperature=np.zeros(3, "f4")))
    assert tokens.tolist() == [1, 2, 2]


def test_greedy_rows_stay_greedy_beside_sampled_ones():
    temperature = np.float32([0, 5] * 64)
    tokens, _ = draw(**plain([1.0, 1.1, 1.05], 128, temperature=temperature))
    assert set(tokens[::2].tolist()) == {1}
    assert set(tokens[1::2].tolist()) == {0, 1, 2}


def test_a_token_that_is_not_allowed_is_never_drawn_however_likely():
    allowed = np.tile(np.bool_([0, 1, 0, 1]), (256, 1))
    tokens, _ = draw(**plain([30.0, 0.0, 20.0, 0.5], 256, allowed=allowed))
    assert set(tokens.tolist()) == {1, 3}


def test_log_probabilities_are_those_of_the_plain_model():
    values = np.float32([1.0, 3.0, 2.0])
    tokens, logprobs = draw(**plain(values, 8, temperature=np.full(8, 3, "f4")))
    wanted = values - np.log(np.exp(values).sum())
    np.testing.assert_allclose(logprobs, wanted[np.asarray(tokens)], rtol=1e-6)


@pytest.mark.parametrize("vary", ["seeds", "steps"])
def test_draws_have_the_distribution_s_frequencies(vary):
    rows, wanted = 4096, np.array([0.6, 0.3, 0.1])
    counted = {"seeds": np.full(rows, 5, "u4"), "steps": np.full(rows, 3, "i4")}
    counted[vary] = np.arange(rows, dtype=counted[vary].dtype)
    tokens, _ = draw(**plain(np.log(wanted), rows, **counted))
    for token, share in enumerate(wanted):
        count = int((np.asarray(tokens) == token).sum())
        low, high = binom.interval(1 - 1e-6, rows, share)
        assert low <= count <= high


def test_temperature_is_the_exponent_of_the_probabilities():
    rows = 4096
    tokens, _ = draw(**plain(np.log([0.8, 0.2]), rows, temperature=np.full(rows, 2, "f4")))
    share = np.sqrt(0.2) / (np.sqrt(0.8) + np.sqrt(0.2))
    low, high = binom.interval(1 - 1e-6, rows, share)
    assert low <= int((np.asarray(tokens) == 1).sum()) <= high


@settings(deadline=None, max_examples=50)
@given(words=st.lists(st.integers(0, 2**32 - 1), min_size=3, max_size=3))
def test_masks_are_unpacked_lowest_bit_first(words):
    bits = np.uint32(words)[None]
    wanted = np.unpackbits(bits.astype("<u4").view(np.uint8), bitorder="little")[:70]
    assert np.asarray(unpack_mask(bits, 70))[0].tolist() == wanted.astype(bool).tolist()
