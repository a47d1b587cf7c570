"""Attention over a pool of pages that sequences share, of any numbers of tokens in one axis.

A page is a few tokens of one sequence; the pool has each head's values behind its keys. A step has
new tokens of several sequences, one or many of each, behind one another. On TPUs it is JAX's kernel
that reads each sequence's pages; XLA can't partition a kernel, so that each device runs it on its
own heads (`jax.shard_map`). On CPUs the same is done page by page.

Sources: Kwon et al., arXiv 2309.06180 (pages); Milakov and Gimelshein, arXiv 1805.02867 (online
softmax); `jax.experimental.pallas.ops.tpu.ragged_paged_attention`.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.ragged_paged_attention import ragged_paged_attention
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from vcjax.core.errors import UserError
from vcjax.model.attention.cached import BLOCK, visible_keys
from vcjax.model.attention.splash import LANES
from vcjax.model.config import LlamaConfig
from vcjax.parallel import AnyMesh, partition_spec, platform_of

PAGE = BLOCK
"""Tokens of a page."""
POOL_AXES = ("layers", "head_dim", "kv_heads", "head_dim")
"""Logical axes of a layer's pool: a device has its heads of every page."""
_QUERIES, _KEYS = 32, 512
"""In a block of the kernel, at most: two blocks of keys and values must fit the vector memory."""
_TABLE_BYTES = 2**20 - 2**14
"""Of the table of all sequences' pages, which the kernel has in a TPU's scalar memory."""
_LEAST = jnp.finfo(jnp.float32).min


class Ragged(NamedTuple):
    """Which tokens are run of which sequence, in one axis.

    Attributes:
      pages: the indices in the pool of each sequence's pages, in its order.
      lengths: tokens of each sequence, those that are run included, which are its last.
      starts: index of the first token that is run of each, and the number of all that are run.
      count: number of sequences that are real, of at least one token each; the others come last.
    """

    pages: Int[Array, "sequences pages"]
    lengths: Int[Array, " sequences"]
    starts: Int[Array, " sequences+1"]
    count: Int[Array, " 1"]

    def tokens(
        self, number: int
    ) -> tuple[Int[Array, " number"], Int[Array, " number"], Bool[Array, " number"]]:
        """Of each of so many tokens its sequence, its position there, and whether it is real."""
        index = jnp.arange(number)
        last = len(self.lengths) - 1
        sequence = jnp.searchsorted(self.starts, index, side="right") - 1
        sequence = jnp.minimum(sequence, last)
        position = self.lengths[sequence] - (self.starts[sequence + 1] - index)
        is_real = index < self.starts[-1]
        return sequence, jnp.where(is_real, position, 0), is_real


def check_pages(
    model: LlamaConfig, dtype: jnp.dtype, mesh: AnyMesh | None, sequences: int, pages: int
) -> None:
    """Raises a UserError where the model's cache can't be made of pages, on these devices.

    Args:
      mesh: None is the default device.
      sequences: that are run together.
      pages: of the longest.
    """
    shards = 1
    if mesh is not None:
        shards = mesh.shape["tensor"]
        if mesh.size > shards:
            raise UserError("pages: not where the slots are sharded over several devices")
    if model.num_kv_heads % shards:
        raise UserError(
            f"pages: {model.num_kv_heads} key/value heads can't be divided among {shards} devices"
        )
    platform = _platform(mesh)
    if platform == "cpu":
        return
    if platform != "tpu":
        raise UserError(
            f"pages: there is a kernel for TPUs alone, and this is a {platform.upper()}"
        )
    if dtype not in (jnp.bfloat16, jnp.float32):
        raise UserError(f"pages: the kernel takes bfloat16 and float32, not {dtype.name}")
    if model.head_dim % LANES:
        raise UserError(
            f"pages: the kernel takes heads of a multiple of {LANES} numbers, not {model.head_dim}"
        )
    # Of one token keys and values are the rows of whole tiles of the chip's memory.
    rows, rest = divmod(2 * model.num_kv_heads // shards * dtype.itemsize, 4)
    if rest or (rows not in (1, 2, 4) and rows % 8):
        raise UserError(
            f"pages: the kernel can't take {model.num_kv_heads // shards} key/value heads of "
            f"{dtype.name} on a device"
        )
    table = 4 * (sequences + -sequences % 8) * (pages + -pages % LANES)
    if table > _TABLE_BYTES:
        raise UserError(
            f"pages: {sequences} slots of {pages * PAGE:,} tokens are more than the kernel's table "
            "of pages may have; lower the slots or the context"
        )


def attend_ragged(
    query: Float[Array, "tokens heads head_dim"],
    pool: Float[Array, "all_pages page 2*kv_heads head_dim"],
    ragged: Ragged,
    window: int | None,
    mesh: AnyMesh | None,
) -> Float[Array, "tokens heads head_dim"]:
    """Each token attends to its own sequence up to itself, as grouped-query attention.

    Args:
      pool: with the new tokens' own keys and values; head n has its keys at 2 n, its values at
        2 n + 1.
      window: number of the last tokens that a token attends to, itself included; None is all.

    Returns:
      Zeros for tokens that aren't real.
    """
    is_real = ragged.tokens(len(query))[2]
    if _platform(mesh) != "tpu":
        mixed = _by_pages(query, pool, ragged, window)
    elif mesh is None:
        mixed = _kernel(query, pool, ragged, window)
    else:
        heads = partition_spec(mesh, ("head_dim", "heads", "head_dim"), query.shape)
        stored = partition_spec(mesh, POOL_AXES, pool.shape)
        mixed = jax.shard_map(
            partial(_kernel, window=window),
            mesh=mesh,
            in_specs=(heads, stored, PartitionSpec()),
            out_specs=heads,
            check_vma=False,  # Pallas's kernels don't declare over which axes their results vary
        )(query, pool, ragged)
    # The kernel leaves what it doesn't compute as it was in memory.
    return jnp.where(is_real[:, None, None], mixed, 0)


def write_pages(
    pool: Float[Array, "all_pages page 2*kv_heads head_dim"],
    key: Float[Array, "tokens kv_heads head_dim"],
    value: Float[Array, "tokens kv_heads head_dim"],
    ragged: Ragged,
) -> Float[Array, "all_pages page 2*kv_heads head_dim"]:
    """The pool with the new tokens' keys and values; those that aren't real write nothing."""
    sequence, position, is_real = ragged.tokens(len(key))
    page = jnp.where(is_real, ragged.pages[sequence, position // PAGE], len(pool))
    both = jnp.stack([key, value], axis=2).reshape(len(key), *pool.shape[2:])
    return pool.at[page, position % PAGE].set(both.astype(pool.dtype), mode="drop")


def _platform(mesh: AnyMesh | None) -> str:
    return jax.default_backend() if mesh is None else platform_of(mesh)


def _kernel(query: Array, pool: Array, ragged: Ragged, window: int | None) -> Array:
    return ragged_paged_attention(
        query,
        pool,
        ragged.lengths,
        ragged.pages,
        ragged.starts,
        ragged.count,
        sm_scale=query.shape[2] ** -0.5,
        sliding_window=window,
        # The kernel's own choice asks for the default device, which needn't be this one.
        num_kv_pages_per_block=min(ragged.pages.shape[1], _KEYS // PAGE),
        num_queries_per_block=min(len(query), _QUERIES),
    )


def _by_pages(query: Array, pool: Array, ragged: Ragged, window: int | None) -> Array:
    """One page of every token's sequence at a time, up to the last that any token sees."""
    number, _, head_dim = query.shape
    kv_heads = pool.shape[2] // 2
    sequence, position, _ = ragged.tokens(number)
    pages, grouped = ragged.pages[sequence], query.reshape(number, kv_heads, -1, head_dim)

    def step(index: Array, carried: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        highest, total, mixed = carried
        page = pool[pages[:, index]]
        keys, values = page[:, :, 0::2], page[:, :, 1::2]
        order = index * PAGE + jnp.arange(PAGE)
        visible = visible_keys(order[None], position[:, None], window)[:, None, None]
        scores = jnp.einsum("tkgh,tskh->tkgs", grouped, keys, preferred_element_type=jnp.float32)
        scores = jnp.where(visible, scores * head_dim**-0.5, _LEAST)
        higher = jnp.maximum(highest, jnp.max(scores, axis=-1, keepdims=True))
        # Not of the scores alone: where a query has seen no key yet, they are the highest.
        weights = jnp.where(visible, jnp.exp(scores - higher), 0)
        before = jnp.exp(highest - higher)
        own = jnp.einsum(
            "tkgs,tskh->tkgh",
            weights.astype(values.dtype),
            values,
            preferred_element_type=jnp.float32,
        )
        total = total * before + jnp.sum(weights, axis=-1, keepdims=True)
        return higher, total, mixed * before + own

    sums = jnp.zeros((*grouped.shape[:3], 1), jnp.float32)
    start = jnp.full_like(sums, _LEAST), sums, jnp.zeros(grouped.shape, jnp.float32)
    last = jnp.max(position) // PAGE + 1
    _, total, mixed = jax.lax.fori_loop(0, last, step, start)
    return (mixed / total).astype(query.dtype).reshape(query.shape)
