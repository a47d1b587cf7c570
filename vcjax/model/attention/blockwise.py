"""Causal attention over packed rows in blocks of queries, without storing the scores.

The queries of a block attend to the keys up to the block's end: most of what is above the diagonal
is never computed. The backward pass computes the scores again from what was kept of the softmax, as
in FlashAttention (Dao et al., arXiv 2205.14135); the blocks are unrolled, as each has a shape of
its own. It runs on every platform; on TPUs and NVIDIA GPUs kernels do better.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float, Int

# Half of the square of scores on the diagonal is computed and masked: larger blocks waste more
# there, smaller ones have more and thinner matmuls.
BLOCK = 128
"""Queries in a block."""


@jax.custom_vjp
def blockwise_attention(
    query: Float[Array, "batch length heads head_dim"],
    key: Float[Array, "batch length kv_heads head_dim"],
    value: Float[Array, "batch length kv_heads head_dim"],
    segment_ids: Int[Array, "batch length"],
    window: Int[Array, ""] | int | None,
) -> Float[Array, "batch length heads head_dim"]:
    """Each token attends to itself and to earlier tokens of its own segment, at most `window`
    tokens back, itself included (None: all). Scores and softmax are float32."""
    return _forward(query, key, value, segment_ids, window)[0]


def tree_attention(
    query: Float[Array, "batch length heads head_dim"],
    key: Float[Array, "batch length kv_heads head_dim"],
    value: Float[Array, "batch length kv_heads head_dim"],
    positions: Int[Array, "batch length"],
    ends: Int[Array, "batch length"],
    window: Int[Array, ""] | int | None,
) -> Float[Array, "batch length heads head_dim"]:
    """Attention over rows that are trees of tokens in depth-first order, without a gradient.

    Each token attends to itself and to the tokens that it continues, at most `window` positions
    back, itself included (None: all). Texts that share a prefix have it once in such a row.

    Args:
      positions: number of tokens that each one continues.
      ends: index in the row of the last token that continues it, its own where none does: as the
        order is depth-first, all that continue it are between the two.
    """

    def mask(start: int, end: int) -> Array:
        # In depth-first order all that continues a token follows it directly, up to `ends`: whether
        # one token continues another is whether it lies in an interval, which needs no table of
        # ancestors.
        order = jnp.arange(end)
        visible = (order[start:, None] >= order) & (ends[:, None, :end] >= order[start:, None])
        if window is not None:
            behind = positions[:, start:end, None] - positions[:, None, :end]
            visible = visible & (behind < window)
        return _for_heads(visible, query.shape[2] // key.shape[2])

    return _attended(query, key, value, mask)[0]


def _forward(query: Array, key: Array, value: Array, segment_ids: Array, window: Any) -> tuple:
    group = query.shape[2] // key.shape[2]
    mask = partial(_mask, segment_ids, window, group=group)
    attended, norm = _attended(query, key, value, mask)
    return attended, (query, key, value, segment_ids, window, attended, norm)


def _attended(
    query: Array, key: Array, value: Array, mask: Callable[[int, int], Array]
) -> tuple[Array, Array]:
    """What is attended to, and the logarithm of the softmax's denominator.

    Args:
      mask: the keys that the queries of a block attend to, as `_mask` returns them.
    """
    # The query heads that share a key head are rows of one matmul, which reads the keys once.
    rows, keys, values = _rows(query, key), key.transpose(0, 2, 3, 1), value.swapaxes(1, 2)
    mixed, norms = [], []
    for start, end in _blocks(query.shape[1]):
        visible = mask(start, end)
        scores = _matmul("bkqh,bkhs->bkqs", _flat(rows, start, end), keys[..., :end])
        # -inf is safe here: every token sees itself, padding too, so no row is without a maximum.
        scores = jnp.where(visible, scores * query.shape[3] ** -0.5, -jnp.inf)
        largest = jnp.max(scores, axis=-1, keepdims=True)
        weights = jnp.exp(scores - largest)
        total = jnp.sum(weights, axis=-1, keepdims=True)
        out = _matmul("bkqs,bksh->bkqh", weights.astype(value.dtype), values[:, :, :end])
        # Divided after the matmul: `head_dim` numbers a query, where weights are one for each key.
        mixed.append((out / total).astype(value.dtype))
        norms.append(largest + jnp.log(total))
    # What the backward pass needs has the name by which remat policies keep it.
    attended = _tokens(_apart(jnp.concatenate(mixed, axis=2), rows))
    attended = checkpoint_name(attended, "attended")
    norm = checkpoint_name(_apart(jnp.concatenate(norms, axis=2), rows), "attended")
    return attended, norm


def _backward(kept: tuple, gradient: Array) -> tuple:
    """Scores are [context, queries] here: four of the five matmuls then read their factors as
    they are stored, where the order of `_forward` would have whole blocks of scores transposed."""
    query, key, value, segment_ids, window, attended, norm = kept
    rows, keys, values = _rows(query, key), key.swapaxes(1, 2), value.swapaxes(1, 2)
    above = _rows(gradient, key)
    # The sum over keys of weight times its gradient, which the softmax's derivative subtracts, is
    # this dot product with the output (FlashAttention's D); no block needs all keys for it.
    dots = gradient.astype(jnp.float32) * attended.astype(jnp.float32)
    dots = _rows(jnp.sum(dots, axis=-1, keepdims=True), key)
    d_rows = []
    # Every block of queries adds to the keys before it; in bfloat16 the sum would lose the later
    # terms.
    d_keys, d_values = (jnp.zeros(array.shape, jnp.float32) for array in (keys, values))
    for start, end in _blocks(query.shape[1]):
        here, above_here = _flat(rows, start, end), _flat(above, start, end)
        norm_here, dot = (_flat(array, start, end).swapaxes(2, 3) for array in (norm, dots))
        visible = _mask(segment_ids, window, start, end, rows.shape[3]).swapaxes(2, 3)
        scores = _matmul("bksh,bkqh->bksq", keys[:, :, :end], here) * query.shape[3] ** -0.5
        # `norm` is the logarithm of the softmax's denominator, so this is the softmax itself:
        # neither maximum nor sum over the keys is taken again.
        weights = jnp.where(visible, jnp.exp(scores - norm_here), 0.0)
        d_weights = _matmul("bksh,bkqh->bksq", values[:, :, :end], above_here)
        d_scores = weights * (d_weights - dot) * query.shape[3] ** -0.5
        # Rounded once, so that the matmuls below run at the rate of the compute dtype.
        weights, d_scores = weights.astype(value.dtype), d_scores.astype(value.dtype)
        d_here = _matmul("bksh,bksq->bkhq", keys[:, :, :end], d_scores)
        d_rows.append(_apart(d_here.swapaxes(2, 3), rows))
        d_keys = d_keys.at[:, :, :end].add(_matmul("bksq,bkqh->bksh", d_scores, here))
        d_values = d_values.at[:, :, :end].add(_matmul("bksq,bkqh->bksh", weights, above_here))
    d_query = _tokens(jnp.concatenate(d_rows, axis=2)).astype(query.dtype)
    d_key, d_value = (array.swapaxes(1, 2).astype(key.dtype) for array in (d_keys, d_values))
    return d_query, d_key, d_value, None, None


blockwise_attention.defvjp(_forward, _backward)


def _blocks(length: int) -> list[tuple[int, int]]:
    return [(start, min(start + BLOCK, length)) for start in range(0, length, BLOCK)]


def _rows(query: Array, key: Array) -> Array:
    """[batch, length, heads, ...] -> [batch, kv_heads, length, heads / kv_heads, ...]."""
    batch, length, heads, size = query.shape
    return query.reshape(batch, length, key.shape[2], heads // key.shape[2], size).swapaxes(1, 2)


def _flat(rows: Array, start: int, end: int) -> Array:
    """Some queries of `_rows`, each head's after another: [batch, kv_heads, queries, ...]."""
    part = rows[:, :, start:end]
    return part.reshape(*part.shape[:2], -1, part.shape[4])


def _apart(flat: Array, rows: Array) -> Array:
    """The reverse of `_flat`, for some of the queries of `rows`."""
    return flat.reshape(*flat.shape[:2], -1, rows.shape[3], flat.shape[3])


def _tokens(rows: Array) -> Array:
    """The reverse of `_rows`."""
    batch, kv_heads, length, group, size = rows.shape
    return rows.swapaxes(1, 2).reshape(batch, length, kv_heads * group, size)


def _matmul(shape: str, left: Array, right: Array) -> Array:
    return jnp.einsum(shape, left, right, preferred_element_type=jnp.float32)


def _mask(
    segment_ids: Array, window: Any, start: int, end: int, group: int
) -> Bool[Array, "batch 1 queries context"]:
    """The keys that the queries of `_flat` attend to."""
    order = np.arange(end)  # of the block, which is known when this is traced: a constant
    behind = jnp.asarray(order[start:, None] - order)
    visible = (behind >= 0) & (segment_ids[:, start:end, None] == segment_ids[:, None, :end])
    if window is not None:
        visible = visible & (behind < window)
    return _for_heads(visible, group)


def _for_heads(
    visible: Bool[Array, "batch queries context"], group: int
) -> Bool[Array, "batch 1 queries context"]:
    """A mask of queries as that of the queries of `_flat`."""
    return jnp.repeat(visible, group, axis=1)[:, None]
