"""Grouped-query attention behind one function, and the masks it takes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def attend(
    query: Float[Array, "batch length heads head_dim"],
    key: Float[Array, "batch context kv_heads head_dim"],
    value: Float[Array, "batch context kv_heads head_dim"],
    mask: Bool[Array, "batch length context"],
) -> Float[Array, "batch length heads head_dim"]:
    """Softmax attention; query head h reads key/value head h // (heads / kv_heads).

    Scores and softmax are float32. A query whose mask row is all False gets the mean of all
    values rather than NaN; its output must not be used.
    Source: Ainslie et al., arXiv 2305.13245 (grouped-query attention).
    """
    batch, length, heads, head_dim = query.shape
    kv_heads = key.shape[2]
    grouped = query.reshape(batch, length, kv_heads, heads // kv_heads, head_dim)
    scores = jnp.einsum("btkgh,bskh->bkgts", grouped, key, preferred_element_type=jnp.float32)
    scores = scores * head_dim**-0.5
    scores = jnp.where(mask[:, None, None], scores, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    mixed = jnp.einsum("bkgts,bskh->btkgh", weights, value)
    return mixed.reshape(batch, length, heads, head_dim)


def packed_mask(
    segment_ids: Int[Array, "batch length"],
) -> Bool[Array, "batch length length"]:
    """Causal within a segment, nothing across segments. Order is the order in the row."""
    length = segment_ids.shape[1]
    causal = jnp.tril(jnp.ones((length, length), bool))
    return causal & (segment_ids[:, :, None] == segment_ids[:, None, :])


def cached_mask(
    positions: Int[Array, "batch length"], context: int
) -> Bool[Array, "batch length context"]:
    """Slot s of the cache holds position s: a query sees the slots up to its own position."""
    return jnp.arange(context)[None, None, :] <= positions[:, :, None]


def windowed(
    mask: Bool[Array, "batch length context"],
    query_index: Int[Array, "batch length"],
    window: Int[Array, ""],
) -> Bool[Array, "batch length context"]:
    """Keeps the last `window` keys of each query, itself included (Mistral, arXiv 2310.06825)."""
    context = mask.shape[-1]
    distance = query_index[:, :, None] - jnp.arange(context)[None, None, :]
    return mask & (distance < window)
