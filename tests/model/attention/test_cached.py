"""Attention over blocks of a cache: what reference attention gives, whatever else there is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vcjax.model.attention.cached import BLOCK, attend_rows, attend_tiles
from vcjax.model.attention.reference import attend

KV_HEADS, GROUP, SIZE, TILE = 3, 3, 64, 32
by_rows = jax.jit(attend_rows, static_argnames=("window",))
by_tiles = jax.jit(attend_tiles, static_argnames=("window",))


def normal(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(sum(shape)).normal(size=shape), jnp.float32)


def cached(rows: int, blocks: int) -> tuple[jax.Array, jax.Array]:
    """Keys and values."""
    outer = (rows, KV_HEADS, blocks)
    return normal(*outer, SIZE, BLOCK), normal(*outer, BLOCK, SIZE)


@pytest.mark.parametrize("window", [None, 40])
def test_blocks_give_what_the_whole_gives(window):
    rows, blocks = 4, 3
    keys, values = cached(rows, blocks)
    flat = (rows, KV_HEADS, blocks * BLOCK, SIZE)
    whole = jnp.swapaxes(keys, 3, 4).reshape(flat), values.reshape(flat)
    starts = np.asarray([0, 96, 64, 160])
    positions = starts[:, None] + np.arange(TILE)
    query = normal(rows, TILE, KV_HEADS * GROUP, SIZE)
    distance = positions[:, :, None] - np.arange(blocks * BLOCK)
    mask = (distance >= 0) & (distance < (window or blocks * BLOCK))
    expected = attend(query, *whole, jnp.asarray(mask))
    found = by_tiles(query, keys, values, np.arange(rows), positions, window=window)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    last = by_rows(query[:, -1:], keys, values, positions[:, -1:], window=window)
    np.testing.assert_allclose(last, expected[:, -1:], atol=2e-6)


@pytest.mark.parametrize("rows", [4, 16])  # fewer are summed by another program
def test_one_query_a_row_gets_the_same_to_the_bit_in_a_longer_cache(rows):
    keys, values = cached(rows, 2)
    query = normal(rows, 1, KV_HEADS * GROUP, SIZE)
    positions = np.random.default_rng(0).integers(1, 2 * BLOCK, (rows, 1))
    found = []
    for blocks in (2, 3, 4, 8, 16, 32):
        room = [(0, blocks - 2 if axis == 2 else 0) for axis in range(5)]
        longer = [jnp.pad(each, room, constant_values=7) for each in (keys, values)]
        found.append(np.asarray(by_rows(query, *longer, positions, window=None)))
    for each in found[1:]:
        np.testing.assert_array_equal(each, found[0])


def test_a_tile_gets_the_same_to_the_bit_in_any_batch():
    keys, values = cached(4, 8)
    query, found = normal(1, TILE, KV_HEADS * GROUP, SIZE), []
    for tiles in (2, 4, 8, 16):
        for place in (0, tiles - 1):
            rng = np.random.default_rng(tiles)
            queries = normal(tiles, TILE, KV_HEADS * GROUP, SIZE).at[place].set(query[0])
            rows, starts = rng.integers(0, 4, tiles), rng.integers(0, 15, tiles) * TILE
            rows[place], starts[place] = 1, 96
            positions = starts[:, None] + np.arange(TILE)
            found.append(by_tiles(queries, keys, values, rows, positions, window=None)[place])
    for each in found[1:]:
        np.testing.assert_array_equal(each, found[0])
