"""Attention over a cache of keys and values that is made of fixed blocks.

A row's blocks are matrices of one shape, whatever the cache's length: each is multiplied alone,
and what lies behind a token's position adds exact zeros. So a token gets the same bits beside
longer rows, in a cache that has grown, and in whichever chunk of its prompt it is run.

Sources: Kwon et al., arXiv 2309.06180 (blocks); Milakov and Gimelshein, arXiv 1805.02867 (online
softmax).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

BLOCK = 64
"""Tokens of a block."""
_LEAST = jnp.finfo(jnp.float32).min


def attend_rows(
    query: Float[Array, "rows 1 heads head_dim"],
    keys: Float[Array, "rows kv_heads blocks head_dim block"],
    values: Float[Array, "rows kv_heads blocks block head_dim"],
    positions: Int[Array, "rows 1"],
    window: int | None,
) -> Float[Array, "rows 1 heads head_dim"]:
    """One query of each row over the row's blocks, as grouped-query attention.

    Keys have their tokens last: then neither matmul has to turn a block. Scores and sums are
    float32. The result of a position beyond the cache must not be used.
    """
    rows, _, heads, head_dim = query.shape
    kv_heads, blocks = keys.shape[1:3]
    grouped = query.reshape(rows, kv_heads, 1, heads // kv_heads, head_dim)
    # A copy of the queries for each block: with the blocks as columns of one matmul, its keys
    # would have to be laid out anew.
    grouped = jnp.broadcast_to(grouped, (rows, kv_heads, blocks, *grouped.shape[3:]))
    index = jnp.arange(blocks * BLOCK).reshape(blocks, BLOCK)
    visible = visible_keys(index[None], positions[:, :, None], window)[:, None, :, None]
    scores = jnp.einsum("rkngh,rknhs->rkngs", grouped, keys, preferred_element_type=jnp.float32)
    scores = jnp.where(visible, scores * head_dim**-0.5, _LEAST)
    weights = jnp.exp(scores - jnp.max(scores, axis=(2, 4), keepdims=True))
    total = jnp.sum(jnp.sum(weights, axis=-1), axis=2)
    mixed = jnp.einsum(
        "rkngs,rknsh->rkngh",
        weights.astype(values.dtype),
        values,
        preferred_element_type=jnp.float32,
    )
    mixed = jnp.sum(mixed, axis=2) / total[..., None]
    return mixed.astype(query.dtype).reshape(rows, 1, heads, head_dim)


def attend_tiles(
    query: Float[Array, "tiles length heads head_dim"],
    keys: Float[Array, "rows kv_heads blocks head_dim block"],
    values: Float[Array, "rows kv_heads blocks block head_dim"],
    rows: Int[Array, " tiles"],
    positions: Int[Array, "tiles length"],
    window: int | None,
) -> Float[Array, "tiles length heads head_dim"]:
    """The queries of each tile, all of one row, over that row's blocks; see `attend_rows`.

    One block of every tile at a time, up to the last that any tile sees, so that one program
    serves prompts of all lengths.
    """
    tiles, length, heads, head_dim = query.shape
    kv_heads, blocks = keys.shape[1:3]
    group = heads // kv_heads
    grouped = jnp.moveaxis(query.reshape(tiles, length, kv_heads, group, head_dim), 2, 1)
    grouped = grouped.reshape(tiles, kv_heads, length * group, head_dim)
    last = jnp.minimum(jnp.max(positions) // BLOCK + 1, blocks)

    def step(number: Array, carried: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        highest, total, mixed = carried
        index = number * BLOCK + jnp.arange(BLOCK)
        visible = visible_keys(index[None, None], positions[:, :, None], window)
        visible = jnp.repeat(visible, group, axis=1)[:, None]
        scores = jnp.einsum(
            "tkqh,tkhs->tkqs", grouped, keys[rows, :, number], preferred_element_type=jnp.float32
        )
        scores = jnp.where(visible, scores * head_dim**-0.5, _LEAST)
        higher = jnp.maximum(highest, jnp.max(scores, axis=-1, keepdims=True))
        # Not of the scores alone: where a query has seen no key yet, they are the highest.
        weights = jnp.where(visible, jnp.exp(scores - higher), 0)

        def before(sums: Array) -> Array:
            # The choice keeps product and sum apart: contracted to one instruction, where a program
            # of this size has them in one loop, they would be rounded once and not twice.
            return jnp.where(highest > _LEAST, sums * jnp.exp(highest - higher), 0)

        own = jnp.einsum(
            "tkqs,tksh->tkqh",
            weights.astype(values.dtype),
            values[rows, :, number],
            preferred_element_type=jnp.float32,
        )
        total = before(total) + jnp.sum(weights, axis=-1, keepdims=True)
        return higher, total, before(mixed) + own

    sums = jnp.zeros((tiles, kv_heads, length * group, 1), jnp.float32)
    start = jnp.full_like(sums, _LEAST), sums, jnp.zeros(grouped.shape, jnp.float32)
    _, total, mixed = jax.lax.fori_loop(0, last, step, start)
    mixed = (mixed / total).astype(query.dtype)
    mixed = jnp.moveaxis(mixed.reshape(tiles, kv_heads, length, group, head_dim), 1, 2)
    return mixed.reshape(tiles, length, heads, head_dim)


def visible_keys(index: Array, positions: Array, window: int | None) -> Bool[Array, "*shape"]:
    """Which tokens of the cache a query sees: its row up to itself, the last `window` of them."""
    # This hides what an earlier request left in a slot, too: it lies beyond the position until
    # the new request overwrites it.
    visible = index <= positions
    return visible if window is None else visible & (positions - index < window)
