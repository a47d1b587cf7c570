"""Splash attention, JAX's Pallas kernel for TPUs, over packed rows that are sharded over a mesh.

The kernel computes neither what is above the diagonal nor what is outside a window, and stores no
scores. XLA can't partition a kernel, so each device runs it on its own rows and heads
(`jax.shard_map`). A device with a part of each row's queries attends to the keys of the whole
row; those with the last parts have the most to do.

Source: `jax.experimental.pallas.ops.tpu.splash_attention`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import splash_attention as splash
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from vcjax.core.errors import UserError
from vcjax.parallel import AnyMesh, partition_spec, shard_count

LANES = 128
"""Width of a TPU's vectors; rows are padded to a multiple of it."""

LARGEST_BLOCK = 512
"""Queries and keys in a block, at most; four times as many scores don't fit beside the rest."""

PADDING = -1
"""Segment of what fills a row up; the segments of rows are 0 or more."""


def splash_attention(
    query: Float[Array, "batch length heads head_dim"],
    key: Float[Array, "batch length kv_heads head_dim"],
    value: Float[Array, "batch length kv_heads head_dim"],
    segment_ids: Int[Array, "batch length"],
    window: Any,
    mesh: AnyMesh | None,
    interpret: bool = False,
) -> Float[Array, "batch length heads head_dim"]:
    """Each token attends to itself and to earlier tokens of its own segment.

    Args:
      window: number of the last tokens that a token attends to, itself included; None is all.
      mesh: the mesh that the rows are sharded over; None is one device.
      interpret: run the kernel as ordinary operations, on any platform.

    Raises:
      UserError: a window that is an array: the kernel is compiled for one.
    """
    if not (window is None or isinstance(window, int)):
        raise UserError(
            "config.attention: 'splash' needs the same window in every layer of the model; "
            "take 'blocks'"
        )
    length, heads = query.shape[1:3]
    batch_axes, length_axes, head_axes, kv_axes = _axes(query, key, mesh)
    parts = 1 if mesh is None else shard_count(mesh, length_axes)
    padding = -length % (LANES * parts)
    wide = [(0, 0), (0, padding), (0, 0), (0, 0)]
    query, key, value = (jnp.pad(array, wide) for array in (query, key, value))
    segment_ids = jnp.pad(segment_ids, wide[:2], constant_values=PADDING)
    query = query * query.shape[3] ** -0.5  # the kernel doesn't scale scores
    head_parts = 1 if mesh is None else shard_count(mesh, head_axes)
    kernel = _kernel(heads, length + padding, window, head_parts, parts, interpret)
    if mesh is None:
        return _attend(kernel, query, key, value, segment_ids, segment_ids)[:, :length]

    def local(kernel: Any, query: Array, key: Array, value: Array, *segment_ids: Array) -> Array:
        if head_axes is not None and kv_axes is None:
            # All key heads are here, but those of these queries alone are wanted.
            first = jax.lax.axis_index(head_axes) * query.shape[2]
            read = (first + jnp.arange(query.shape[2])) // (heads // key.shape[2])
            key, value = (jnp.take(array, read, axis=2) for array in (key, value))
        return _attend(kernel, query, key, value, *segment_ids)

    # Keys and values have no axis of `sequence`: `shard_map` gathers each row's whole.
    rows = PartitionSpec(batch_axes, length_axes, head_axes)
    whole = PartitionSpec(batch_axes, None, kv_axes)
    # The kernel is a tree of arrays: which blocks of keys each head's queries visit.
    masks = kernel.manual_sharding_spec(NamedSharding(mesh, PartitionSpec(head_axes, length_axes)))
    attend = jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(
            masks,
            rows,
            whole,
            whole,
            PartitionSpec(*rows[:2]),
            PartitionSpec(rows[0]),
        ),
        out_specs=rows,
        check_vma=False,  # Pallas's kernels don't declare over which axes their results vary
    )
    return attend(kernel, query, key, value, segment_ids, segment_ids)[:, :length]


def _axes(query: Array, key: Array, mesh: AnyMesh | None) -> tuple[Any, Any, Any, Any]:
    """Mesh axes of rows, positions, query heads and key heads."""
    if mesh is None:
        return None, None, None, None
    batch, length, heads, _ = partition_spec(
        mesh, ("batch", "length", "heads", "head_dim"), query.shape
    )
    kv_heads = partition_spec(mesh, ("batch", "length", "kv_heads", "head_dim"), key.shape)[2]
    return batch, length, heads, kv_heads


def _kernel(
    heads: int, length: int, window: int | None, head_parts: int, parts: int, interpret: bool
) -> Any:
    mask: Any = splash.CausalMask((length, length))
    if window is not None:
        # The kernel counts the tokens on either side of the token itself.
        mask = splash.LocalMask((length, length), (window - 1, 0), offset=0)
    queries, keys = _block(length // parts), _block(length)
    sizes = splash.BlockSizes(
        block_q=queries,
        block_kv=keys,
        block_q_dkv=queries,
        block_kv_dkv=keys,
        block_q_dq=queries,
        block_kv_dq=keys,
    )
    return splash.make_splash_mha(
        splash.MultiHeadMask([mask] * heads),
        block_sizes=sizes,
        head_shards=head_parts,
        q_seq_shards=parts,
        # What its backward pass reads, by the name under which `vcjax.model.layers` keeps it.
        residual_checkpoint_name="attended",
        interpret=interpret,
    )


def _block(length: int) -> int:
    """The largest block that divides a length."""
    return max(size for size in range(LANES, LARGEST_BLOCK + 1, LANES) if length % size == 0)


def _attend(
    kernel: Any, query: Array, key: Array, value: Array, queried: Array, keyed: Array
) -> Array:
    """Runs the kernel row by row; `queried` and `keyed` are segments of the queries and keys."""
    heads_first = (array.swapaxes(1, 2) for array in (query, key, value))
    return jax.vmap(kernel)(*heads_first, splash.SegmentIds(queried, keyed)).swapaxes(1, 2)
