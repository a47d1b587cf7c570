"""Grouped-query attention behind one function, and the masks it takes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def attend(
    query: Float[Array, "batch length heads head_dim"],
    key: Float[Array, "batch kv_heads context head_dim"],
    value: Float[Array, "batch kv_heads context head_dim"],
    mask: Bool[Array, "batch length context"],
) -> Float[Array, "batch length heads head_dim"]:
    """Softmax attention; query head h reads key/value head h // (heads / kv_heads).

    Keys and values come heads first, the order in which both matmuls read them. All queries of a
    key/value head are rows of one matrix: with axes apart, XLA's CPU backend takes twice as long.

    Scores and softmax are float32. A query whose mask row is all False gets the mean of all
    values rather than NaN; its output must not be used.
    Source: Ainslie et al., arXiv 2305.13245 (grouped-query attention).
    """
    batch, length, heads, head_dim = query.shape
    kv_heads = key.shape[1]
    group = heads // kv_heads
    rows = jnp.moveaxis(query.reshape(batch, length, kv_heads, group, head_dim), 2, 1)
    rows = rows.reshape(batch, kv_heads, length * group, head_dim)
    visible = jnp.repeat(mask, group, axis=1)[:, None]
    scores = jnp.einsum("bkqh,bksh->bkqs", rows, key, preferred_element_type=jnp.float32)
    scores = jnp.where(visible, scores * head_dim**-0.5, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(scores, axis=-1)
    mixed = jnp.einsum("bkqs,bksh->bkqh", weights.astype(value.dtype), value)
    mixed = jnp.moveaxis(mixed.reshape(batch, kv_heads, length, group, head_dim), 1, 2)
    return mixed.reshape(batch, length, heads, head_dim)


def packed_mask(
    segment_ids: Int[Array, "batch length"],
) -> Bool[Array, "batch length length"]:
    """Causal within a segment, nothing across segments. Order is the order in the row."""
    # Padding is a segment like any other, 0. Its tokens attend to each other, so that no query's
    # row is empty, where a kernel's softmax would be NaN: masked in the loss, NaN in the gradient.
    length = segment_ids.shape[1]
    causal = jnp.tril(jnp.ones((length, length), bool))
    return causal & (segment_ids[:, :, None] == segment_ids[:, None, :])


def windowed(
    mask: Bool[Array, "batch length context"],
    query_index: Int[Array, "batch length"],
    window: Int[Array, ""],
) -> Bool[Array, "batch length context"]:
    """Keeps the last `window` keys of each query, itself included (Mistral, arXiv 2310.06825)."""
    context = mask.shape[-1]
    distance = query_index[:, :, None] - jnp.arange(context)[None, None, :]
    # The distance is one of indices in the row. A packed segment is one run of its row, so that
    # within a text it is the difference of positions.
    return mask & (distance < window)
