"""Causal attention over whole packed rows: one function, several backends.

All give what `reference` gives, forward and backward; the tests hold them to it.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vcjax.foundation.errors import UserError
from vcjax.model.attention import attend, packed_mask, windowed

BACKENDS = ("auto", "reference", "blocks", "cudnn", "splash")
"""`reference` works everywhere; `blocks` leaves out what lies above the diagonal, block by block;
`cudnn` is for NVIDIA GPUs in bfloat16, `splash` for TPUs; `auto` takes what suits the platform."""

BLOCK = 128
"""Queries in a block of `blocks`."""


def choose_backend(name: str, dtype: Any, platform: str | None = None) -> str:
    """The backend that `name` stands for on the platform (default: the one that JAX runs on).

    Raises:
      UserError: the backend doesn't run there.
    """
    platform = platform or jax.default_backend()
    low = jnp.dtype(dtype) == jnp.bfloat16
    if name == "auto":
        best = {"cpu": "blocks", "tpu": "splash", "gpu": "cudnn" if low else "blocks"}
        return best.get(platform, "reference")
    if name == "cudnn" and not (platform == "gpu" and low):
        raise UserError("attention 'cudnn' needs an NVIDIA GPU and dtype bfloat16")
    if name == "splash" and platform != "tpu":
        raise UserError("attention 'splash' needs a TPU")
    return name


def attend_packed(
    query: Float[Array, "batch length heads head_dim"],
    key: Float[Array, "batch length kv_heads head_dim"],
    value: Float[Array, "batch length kv_heads head_dim"],
    segment_ids: Int[Array, "batch length"],
    window: Int[Array, ""] | int | None,
    backend: str,
) -> Float[Array, "batch length heads head_dim"]:
    """Each token attends to itself and to earlier tokens of its own segment.

    Args:
      window: at most so many of the last tokens, itself included; None is all of them.
      backend: one of BACKENDS but `auto`.
    """
    if backend == "reference":
        return _reference(query, key, value, segment_ids, window)
    if backend == "blocks":
        return _blocks(query, key, value, segment_ids, window)
    raise ValueError(f"unknown attention backend {backend!r}")


def _reference(query: Array, key: Array, value: Array, segment_ids: Array, window: Any) -> Array:
    mask = _mask(segment_ids, window)
    return attend(query, key.swapaxes(1, 2), value.swapaxes(1, 2), mask)


def _blocks(query: Array, key: Array, value: Array, segment_ids: Array, window: Any) -> Array:
    """The queries of each block see the keys up to the block's end: nothing above is computed."""
    mask, length = _mask(segment_ids, window), query.shape[1]
    key, value = key.swapaxes(1, 2), value.swapaxes(1, 2)
    parts = []
    for start in range(0, length, BLOCK):
        end = min(start + BLOCK, length)
        seen = mask[:, start:end, :end]
        parts.append(attend(query[:, start:end], key[:, :, :end], value[:, :, :end], seen))
    return jnp.concatenate(parts, axis=1)


def _mask(segment_ids: Array, window: Any) -> Array:
    mask = packed_mask(segment_ids)
    if window is None:
        return mask
    order = jnp.broadcast_to(jnp.arange(mask.shape[1])[None], mask.shape[:2])
    return windowed(mask, order, window)
