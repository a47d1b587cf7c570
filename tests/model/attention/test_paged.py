"""Attention over pages: JAX's kernel, its own reference and what runs on CPUs give the same."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas
from jax.experimental.pallas.ops.tpu.ragged_paged_attention import ref_ragged_paged_attention
from jax.extend.core import Literal

from vcjax.model.attention.paged import PAGE, Ragged, _kernel, attend_ragged, write_pages

attend = jax.jit(attend_ragged, static_argnames=("window", "mesh"))
HEADS, KV_HEADS, SIZE, PAGES = 4, 2, 128, 7
LENGTHS, NEW = (150, 1, 70, 64), (20, 1, 1, 3)


def normal(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(sum(shape)).normal(size=shape), jnp.float32)


@pytest.fixture(scope="module")
def ragged() -> Ragged:
    """Four sequences of all kinds, and padding for a fifth; two have their first page in common."""
    pages = np.zeros((5, 3), np.int32)
    pages[0], pages[1, 0], pages[2, :2], pages[3, 0] = (4, 2, 6), 1, (4, 3), 5
    starts = np.concatenate([[0], np.cumsum(NEW), [sum(NEW)]])
    return Ragged(
        jnp.asarray(pages),
        jnp.asarray([*LENGTHS, 0], jnp.int32),
        jnp.asarray(starts, jnp.int32),
        jnp.asarray([4], jnp.int32),
    )


@pytest.fixture
def interpreted(monkeypatch):
    """Kernels run as ordinary operations: this one has no argument for it.

    The interpreter asks an index for its shape, which is missing where the index is a constant. The
    class of these is known from a program that has one.
    """
    monkeypatch.setattr(pallas, "pallas_call", partial(pallas.pallas_call, interpret=True))
    constant = jax.make_jaxpr(lambda x: x + 1)(0).eqns[0].invars[1]
    assert isinstance(constant, Literal)
    monkeypatch.setattr(type(constant.val), "shape", (), raising=False)


@pytest.mark.parametrize("window", [None, 40])
def test_the_kernel_and_the_cpu_give_what_the_reference_gives(ragged, window, interpreted):
    query, pool = normal(32, HEADS, SIZE), normal(PAGES, PAGE, 2 * KV_HEADS, SIZE)
    real = sum(NEW)
    known = jax.tree.map(np.asarray, ragged)  # it loops over sequences

    @jax.jit
    def reference(query, pool):
        return ref_ragged_paged_attention(
            query,
            pool,
            known.lengths,
            known.pages,
            known.starts,
            known.count,
            sm_scale=SIZE**-0.5,
            sliding_window=window,
        )

    expected = reference(query, pool)[:real]
    found = attend(query, pool, ragged, window=window, mesh=None)[:real]
    np.testing.assert_allclose(found, expected, atol=2e-6)
    kernel = _kernel(query, pool, ragged, window)[:real]
    np.testing.assert_allclose(kernel, expected, atol=2e-6)


def test_new_tokens_are_written_behind_the_earlier_ones_and_padding_nowhere(ragged):
    pool = jnp.zeros((PAGES, PAGE, 2 * KV_HEADS, SIZE))
    key, value = normal(32, KV_HEADS, SIZE), normal(32, KV_HEADS, SIZE) + 1
    written = np.asarray(write_pages(pool, key, value, ragged))
    first = 0
    for sequence, (length, new) in enumerate(zip(LENGTHS, NEW, strict=True)):
        for index in range(new):
            position = length - new + index
            page = written[ragged.pages[sequence, position // PAGE], position % PAGE]
            np.testing.assert_array_equal(page[0::2], key[first + index])
            np.testing.assert_array_equal(page[1::2], value[first + index])
        first += new
    assert np.count_nonzero(written.any(axis=(2, 3))) == sum(NEW)
