"""Causal attention over whole packed rows: one function, several backends.

All give what `reference` gives, forward and backward; the tests hold them to it.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Int

from vcjax.foundation.errors import UserError
from vcjax.model.attention import attend, packed_mask, windowed
from vcjax.model.blockwise import blockwise_attention
from vcjax.model.splash import splash_attention
from vcjax.parallel import OnMesh

BACKENDS = ("auto", "reference", "blocks", "cudnn", "splash")
"""`reference` works everywhere; `blocks` leaves out what lies above the diagonal, block by block;
`cudnn` is for NVIDIA GPUs in bfloat16, `splash` for TPUs; `auto` takes what suits the platform."""


def choose_backend(name: str, dtype: Any, platform: str, windows: tuple[int, ...]) -> str:
    """The backend that `name` stands for on a platform.

    Args:
      windows: of the layers; empty where there are none. `splash` is compiled for one window.

    Raises:
      UserError: the backend doesn't run there.
    """
    low, mixed = jnp.dtype(dtype) == jnp.bfloat16, len(set(windows)) > 1
    if name == "auto":
        best = {"tpu": "blocks" if mixed else "splash", "gpu": "cudnn" if low else "blocks"}
        return best.get(platform, "blocks")
    if name == "cudnn" and not (platform == "gpu" and low):
        raise UserError("config.attention: 'cudnn' needs an NVIDIA GPU and dtype bfloat16")
    if name == "splash" and platform != "tpu":
        raise UserError("config.attention: 'splash' needs a TPU")
    if name == "splash" and mixed:
        raise UserError(
            "config.attention: 'splash' needs the same window in every layer; take 'blocks'"
        )
    return name


def attend_packed(
    query: Float[Array, "batch length heads head_dim"],
    key: Float[Array, "batch length kv_heads head_dim"],
    value: Float[Array, "batch length kv_heads head_dim"],
    segment_ids: Int[Array, "batch length"],
    window: Int[Array, ""] | int | None,
    backend: str,
    on: OnMesh | None = None,
) -> Float[Array, "batch length heads head_dim"]:
    """Each token attends to itself and to earlier tokens of its own segment.

    What it returns, and what its backward pass needs of it, is named `attended` for remat.

    Args:
      window: at most so many of the last tokens, itself included; None is all of them. `splash`
        takes no array.
      backend: one of BACKENDS but `auto`.
      on: the mesh that the rows lie on, for `splash`; None is one device.
    """
    if backend == "splash":
        return splash_attention(query, key, value, segment_ids, window, on)
    if backend == "blocks":
        return blockwise_attention(query, key, value, segment_ids, window)
    backends = {"reference": _reference, "cudnn": _fused}
    return checkpoint_name(backends[backend](query, key, value, segment_ids, window), "attended")


def _reference(query: Array, key: Array, value: Array, segment_ids: Array, window: Any) -> Array:
    mask = _mask(segment_ids, window)
    return attend(query, key.swapaxes(1, 2), value.swapaxes(1, 2), mask)


def _fused(
    query: Array,
    key: Array,
    value: Array,
    segment_ids: Array,
    window: Any,
    implementation: Any = "cudnn",
) -> Array:
    """cuDNN skips what lies above the diagonal; it knows no segments, so they come as a mask."""
    if query.shape[1] % 2:
        raise UserError(f"config.length: 'cudnn' needs an even one, not {query.shape[1]}")
    mask = _mask(segment_ids, window)[:, None]
    return jax.nn.dot_product_attention(
        query, key, value, mask=mask, is_causal=True, implementation=implementation
    )


def _mask(segment_ids: Array, window: Any) -> Array:
    mask = packed_mask(segment_ids)
    if window is None:
        return mask
    order = jnp.broadcast_to(jnp.arange(mask.shape[1])[None], mask.shape[:2])
    return windowed(mask, order, window)
