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

    Keys and values come heads first, the order in which both products read them: a cache in
    another order would be transposed, whole, at every token.

    Scores and softmax are float32. A query whose mask row is all False gets the mean of all
    values rather than NaN; its output must not be used.
    Source: Ainslie et al., arXiv 2305.13245 (grouped-query attention).
    """
    batch, length, heads, head_dim = query.shape
    kv_heads = key.shape[1]
    grouped = query.reshape(batch, length, kv_heads, heads // kv_heads, head_dim)
    if length == 1:
        # One query a row is bound by memory, and XLA's batched products of one row are slow on a
        # CPU: multiply and sum takes 0.4 to 0.6 of their time there.
        wide = grouped[:, 0, :, :, None].astype(jnp.float32)
        scores = jnp.sum(wide * key[:, :, None], axis=-1)[..., None, :]
    else:
        scores = jnp.einsum("btkgh,bksh->bkgts", grouped, key, preferred_element_type=jnp.float32)
    scores = scores * head_dim**-0.5
    scores = jnp.where(mask[:, None, None], scores, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(scores, axis=-1)
    if length == 1:
        mixed = jnp.sum(weights[:, :, :, 0, :, None] * value[:, :, None], axis=3)[:, None]
        return mixed.astype(value.dtype).reshape(batch, length, heads, head_dim)
    mixed = jnp.einsum("bkgts,bksh->btkgh", weights.astype(value.dtype), value)
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
