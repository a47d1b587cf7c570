"""Attention over a cache: the slots beyond a sequence change nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vcjax.model.attention.reference import attend, cached_mask


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("rows", [4, 16])  # fewer are run by one thread, which rounds otherwise
def test_one_query_a_row_gets_the_same_to_the_bit_in_a_longer_cache(rows, dtype):
    kv_heads, group, size, length = 3, 3, 64, 128
    rng = np.random.default_rng(0)
    query = jnp.asarray(rng.normal(size=(rows, 1, kv_heads * group, size)), dtype)
    key, value = (
        jnp.asarray(rng.normal(size=(rows, kv_heads, length, size)), dtype) for _ in range(2)
    )
    positions = jnp.asarray(rng.integers(1, length, (rows, 1)))
    found = []
    for context in (128, 256, 512, 1024, 2048):
        room = ((0, 0), (0, 0), (0, context - length), (0, 0))
        longer = [jnp.pad(each, room, constant_values=7) for each in (key, value)]
        mask = cached_mask(positions, context)
        found.append(np.asarray(jax.jit(attend)(query, *longer, mask), np.float32))
    for each in found[1:]:
        np.testing.assert_array_equal(each, found[0])
