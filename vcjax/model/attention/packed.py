"""Causal attention over whole packed rows: one function, several backends.

All return what `reference` returns, forward and backward, which the tests check.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import AbstractMesh
from jaxtyping import Array, Float, Int

from vcjax.core.errors import UserError
from vcjax.model.attention.blockwise import blockwise_attention
from vcjax.model.attention.reference import attend, packed_mask, windowed
from vcjax.model.attention.splash import splash_attention
from vcjax.model.config import LlamaConfig
from vcjax.parallel import AnyMesh, partition_spec, platform_of

BACKENDS = ("auto", "reference", "blocks", "cudnn", "splash")
"""`reference` works everywhere; `blocks` leaves out what is above the diagonal, block by block;
`cudnn` is for NVIDIA GPUs in bfloat16, `splash` for TPUs; `auto` takes the fastest that runs."""

AMPERE, HOPPER = (8, 0), (9, 0)
"""Compute capabilities of NVIDIA's GPUs from which on cuDNN has this attention, and has it for
heads of more than 128."""


def choose_backend(
    name: str, model: LlamaConfig, dtype: Any, mesh: AnyMesh | None, length: int | None = None
) -> str:
    """The backend that `name` means.

    Args:
      name: one of BACKENDS; `auto` never raises.
      dtype: of the computation.
      mesh: the mesh that the rows are sharded over; None is JAX's default device.
      length: of the rows, where it is known.

    Raises:
      UserError: the backend that is named can't run there.
    """
    reasons = {
        "cudnn": _cudnn_needs(model, jnp.dtype(dtype), mesh, length),
        "splash": _splash_needs(model, mesh),
    }
    if name == "auto":
        return next((fast for fast, needs in reasons.items() if needs is None), "blocks")
    if needs := reasons.get(name):
        raise UserError(f"config.attention: '{name}' needs {needs}; take 'auto' or 'blocks'")
    return name


def _cudnn_needs(
    model: LlamaConfig, dtype: Any, mesh: AnyMesh | None, length: int | None
) -> str | None:
    """What `cudnn` needs and doesn't have here; None where it has it all.

    Source: the checks of `jax._src.cudnn.fused_attention_stablehlo` (JAX 0.10), which come when
    the step is traced, or when XLA lays it over the mesh.
    """
    capability = _capability(mesh)
    if capability < AMPERE:
        return "an NVIDIA GPU, of Ampere (compute capability 8.0) or later"
    if dtype != jnp.bfloat16:
        return f"dtype bfloat16, not {dtype}"
    largest = 256 if capability >= HOPPER else 128
    if model.head_dim % 8 or model.head_dim > largest:
        return f"a head_dim that 8 divides, at most {largest}, not {model.head_dim}"
    if mesh is not None:
        if mesh.shape["sequence"] > 1:
            return "whole rows, and mesh.sequence shares each row out"
        # Key heads that the tensor axis doesn't divide are replicated while query heads are
        # sharded; cuDNN's call is one operation, which XLA can't partition with the two laid out
        # apart.
        heads = partition_spec(mesh, ("heads",), (model.num_heads,))
        if heads != partition_spec(mesh, ("kv_heads",), (model.num_kv_heads,)):
            return (
                f"a mesh.tensor that divides the model's {model.num_kv_heads} key/value heads, "
                f"not {mesh.shape['tensor']}"
            )
    if length is not None and length % 2:  # for its gradient, as segments come as a mask
        return f"an even length, not {length}"
    return None


def _splash_needs(model: LlamaConfig, mesh: AnyMesh | None) -> str | None:
    """What `splash` needs and doesn't have here; None where it has it all."""
    if (jax.default_backend() if mesh is None else platform_of(mesh)) != "tpu":
        return "a TPU"
    if len(set(model.windows)) > 1:  # it is compiled for one
        return "the same window in every layer"
    return None


def _capability(mesh: AnyMesh | None) -> tuple[int, int]:
    """Compute capability of an NVIDIA GPU; (0, 0) of anything else."""
    if isinstance(mesh, AbstractMesh):  # the least of those that a plan knows
        planned = mesh.abstract_device
        nvidia = planned.platform == "gpu" and planned.device_kind.startswith("NVIDIA")
        return AMPERE if nvidia else (0, 0)
    device = jax.devices()[0] if mesh is None else mesh.devices.flat[0]
    if device.platform != "gpu" or "cuda" not in device.client.platform_version:
        return 0, 0
    major, minor = device.compute_capability.split(".")
    return int(major), int(minor)


def attend_packed(
    query: Float[Array, "batch length heads head_dim"],
    key: Float[Array, "batch length kv_heads head_dim"],
    value: Float[Array, "batch length kv_heads head_dim"],
    segment_ids: Int[Array, "batch length"],
    window: Int[Array, ""] | int | None,
    backend: str,
    mesh: AnyMesh | None = None,
) -> Float[Array, "batch length heads head_dim"]:
    """Each token attends to itself and to earlier tokens of its own segment.

    What it returns, and what its backward pass needs of it, is named `attended` for remat.

    Args:
      window: number of the last tokens that a token attends to, itself included; None is all.
        `splash` takes no array.
      backend: one of BACKENDS but `auto`.
      mesh: the mesh that the rows are sharded over, for `splash`; None is one device.
    """
    if backend == "splash":
        return splash_attention(query, key, value, segment_ids, window, mesh)
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
    """cuDNN skips what is above the diagonal; it has no segments, so they are given as a mask."""
    mask = _mask(segment_ids, window)[:, None]
    # `is_causal` repeats what the mask has: cuDNN skips blocks by this flag, never by a mask.
    return jax.nn.dot_product_attention(
        query, key, value, mask=mask, is_causal=True, implementation=implementation
    )


def _mask(segment_ids: Array, window: Any) -> Array:
    mask = packed_mask(segment_ids)
    if window is None:
        return mask
    order = jnp.broadcast_to(jnp.arange(mask.shape[1])[None], mask.shape[:2])
    return windowed(mask, order, window)
