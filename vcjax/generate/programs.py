"""The compiled programs of the engine, one for each shape; engines of one shape share them.

The KV cache has a row of blocks of keys and values for each slot. A *tile* is a few tokens of a
prompt that come one after the other; prompts are run as tiles, some of each, in one batch.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from vcjax.generate.sampling import count, draw, pack
from vcjax.generate.scoring import score_targets
from vcjax.generate.slots import SlotBatch
from vcjax.model.build import Params
from vcjax.model.config import LlamaConfig
from vcjax.model.llama import Cache, init_cache
from vcjax.parallel import AnyMesh, sharding

# `head_dim` is used for every axis that isn't sharded: no rule maps it to a mesh axis.
CACHE_AXES = ("batch", "kv_heads", "head_dim", "head_dim", "head_dim")
"""Logical axes of a layer's keys: slots over the copies of the model, heads over its shards."""
POOL_AXES = ("layers", *CACHE_AXES[1:])
"""The same of the pool of prefix blocks, which has a row for each. Every copy of the model needs
all of them, as a prompt may be given to any slot."""
LOGITS_AXES = ("batch", "head_dim")
"""The same of the logits and of the token counts."""
TILE_FIELDS = ("start", "slot", "end")
"""What stands before a tile's tokens: the position of the first; the slot, and one that doesn't
exist writes nothing; the index of the prompt's last token among those of all tiles, or their number
where the prompt doesn't end in the tile."""


# The cache is donated to every program that changes it, as there is no room for a second one. If
# such a program fails in the middle, the cache is gone (`DecodeState.is_intact`).
@partial(jax.jit, static_argnames=("graph", "mesh"), donate_argnames=("cache", "logits"))
def prefill(
    graph: Any,
    mesh: AnyMesh | None,
    params: Params,
    cache: Cache,
    logits: Float[Array, "slots vocab"],
    *,
    tiles: Int[Array, "tiles fields+length"],
) -> tuple[Cache, Float[Array, "slots vocab"], Float[Array, "tiles*length d"]]:
    """Runs tiles of prompts; where a prompt ends, its slot's logits become those after it.

    The hidden states are returned as well, for the scores of prompts. They are of every prompt, as
    another program for those that are scored would differ in the last bits.

    Args:
      tiles: of each TILE_FIELDS, then its tokens. What is behind a prompt's end is padding, and is
        overwritten later.
    """
    model = nnx.merge(graph, params)
    starts, slots, ends = tiles[:, : len(TILE_FIELDS)].T
    tokens = tiles[:, len(TILE_FIELDS) :]
    # Of each slot, the index of its last token among all of them; their number if there is none.
    ends = jnp.full(len(logits), tokens.size).at[slots].min(ends, mode="drop")
    positions = starts[:, None] + jnp.arange(tokens.shape[1])
    hidden, cache = model.extend(tokens, positions, cache, slots)
    hidden = hidden.reshape(tokens.size, -1)
    # Of all slots, as many rows as decoding has: the logits of a prompt are the same to the bit,
    # however many prompts end with it.
    own = model.logits(hidden[jnp.minimum(ends, tokens.size - 1)])
    logits = jnp.where((ends < tokens.size)[:, None], own, logits)
    return constrain(mesh, CACHE_AXES, cache), constrain(mesh, LOGITS_AXES, logits), hidden


@partial(jax.jit, static_argnames=("graph", "top"))
def score_chunk(
    graph: Any,
    params: Params,
    hidden: Float[Array, "length d"],
    chunk: Int[Array, " 2+length"],
    top: int,
) -> tuple[Array, ...]:
    """Scores the token after each of a chunk's; see `vcjax.generate.scoring.score_targets`.

    Args:
      hidden: from `prefill`.
      chunk: where it begins there, the number of its targets that are real, and the targets.
    """
    model = nnx.merge(graph, params)
    first, count, targets = chunk[0], chunk[1], chunk[2:]
    indices = first + jnp.arange(len(targets))
    return score_targets(model, hidden, indices, targets, count, top)


@partial(jax.jit, static_argnames=("graph", "mesh"), donate_argnames=("cache", "logits"))
def decode(
    graph: Any,
    mesh: AnyMesh | None,
    params: Params,
    cache: Cache,
    logits: Float[Array, "slots vocab"],
    *,
    tokens: Int[Array, " some"],
    batch: SlotBatch,
) -> tuple[Cache, Float[Array, "slots vocab"]]:
    """Runs one token of every slot in the batch; a position beyond the cache writes nothing.

    Args:
      batch: the one that the tokens were drawn by.
      logits: those of the step before, whose memory the new ones take.
    """
    model = nnx.merge(graph, params)
    hidden, cache = model.extend(tokens[:, None], batch.positions()[:, None], cache)
    logits = logits.at[: len(tokens)].set(model.logits(hidden[:, 0]))
    return constrain(mesh, CACHE_AXES, cache), constrain(mesh, LOGITS_AXES, logits)


@partial(jax.jit, static_argnames=("top",), donate_argnames=("counts",))
def sample(
    logits: Float[Array, "slots vocab"],
    counts: Int[Array, "slots vocab"],
    batch: SlotBatch,
    top: int,
) -> tuple[Int[Array, " some"], Int[Array, "some results"], Int[Array, "slots vocab"]]:
    """Draws a token for every slot in the batch, and counts it where any slot has a penalty.

    Returns:
      The tokens, all results as `sampling.unpack` takes them, and the counts.
    """
    sampling = batch.sampling()
    number = len(batch.rows)
    drawn = draw(logits[:number], counts[:number], sampling, top)
    counts = jax.lax.cond(
        sampling.any_penalised, lambda c: count(c, drawn.tokens), lambda c: c, counts
    )
    return drawn.tokens, pack(drawn), counts


@partial(jax.jit, donate_argnames=("counts",))
def count_prompt(
    counts: Int[Array, "slots vocab"], slot_occurs: Int[Array, " 1+vocab"]
) -> Int[Array, "slots vocab"]:
    """Sets a slot's counts to those of its prompt: after the slot comes a 1 for each token that
    occurs in it, which is bit 0; see `sampling.count`."""
    return counts.at[slot_occurs[0]].set(slot_occurs[1:])


@partial(jax.jit, static_argnames=("mesh",), donate_argnames=("pool",))
def store_prefix(
    mesh: AnyMesh | None,
    pool: Cache,
    cache: Cache,
    slot_blocks: Int[Array, " 1+blocks"],
) -> Cache:
    """Copies the first blocks of a slot to those of the pool whose indices follow the slot's;
    indices beyond the pool are skipped.

    Returns:
      The pool.
    """
    slot, blocks = slot_blocks[0], slot_blocks[1:]

    def stored(into: Array, leaf: Array) -> Array:
        row = jax.lax.dynamic_index_in_dim(leaf, slot, keepdims=False)[:, : len(blocks)]
        return into.at[blocks, :, 0].set(jnp.moveaxis(row, 1, 0), mode="drop")

    return constrain(mesh, POOL_AXES, jax.tree.map(stored, pool, cache))


@partial(jax.jit, static_argnames=("mesh",), donate_argnames=("cache",))
def load_prefix(
    mesh: AnyMesh | None,
    pool: Cache,
    cache: Cache,
    slot_blocks: Int[Array, " 1+blocks"],
) -> Cache:
    """Copies blocks of the pool, whose indices follow the slot's, to its start; returns the
    cache."""
    slot, blocks = slot_blocks[0], slot_blocks[1:]

    def loaded(leaf: Array, pooled: Array) -> Array:
        row = jnp.moveaxis(pooled[blocks, :, 0], 0, 1)[None]
        return jax.lax.dynamic_update_slice(leaf, row, (slot, 0, 0, 0, 0))

    return constrain(mesh, CACHE_AXES, jax.tree.map(loaded, cache, pool))


# It isn't donated: XLA reuses memory for results of the same shape alone.
@partial(jax.jit, static_argnames=("mesh", "blocks"))
def resize(
    mesh: AnyMesh | None, whole: Float[Array, "slots kv_heads before m n"], blocks: int
) -> Float[Array, "slots kv_heads blocks m n"]:
    """An array of the cache with room for so many blocks in each slot, more or fewer than
    before."""
    more = blocks - whole.shape[2]
    if more <= 0:
        return constrain(mesh, CACHE_AXES, whole[:, :, :blocks])
    room = [(0, more if axis == 2 else 0) for axis in range(whole.ndim)]
    return constrain(mesh, CACHE_AXES, jnp.pad(whole, room))


@partial(jax.jit, static_argnames=("config", "mesh", "axes", "rows", "length", "dtype"))
def new_cache(
    config: LlamaConfig,
    mesh: AnyMesh | None,
    axes: tuple[str, ...],
    *,
    rows: int,
    length: int,
    dtype: Any,
) -> Cache:
    """Empty keys and values on the devices.

    Args:
      axes: CACHE_AXES, with `rows` slots of `length` tokens, or POOL_AXES, with `rows` blocks.
    """
    return constrain(mesh, axes, init_cache(config, rows, length, dtype))


@partial(jax.jit, static_argnames=("mesh", "slots", "vocab"))
def new_logits(
    mesh: AnyMesh | None, slots: int, vocab: int
) -> tuple[Float[Array, "slots vocab"], Int[Array, "slots vocab"]]:
    """Zero logits and token counts, for slots that have run nothing yet."""
    size = slots, vocab
    new = jnp.zeros(size, jnp.float32), jnp.zeros(size, jnp.int32)
    return constrain(mesh, LOGITS_AXES, new)


def constrain(mesh: AnyMesh | None, axes: tuple[str, ...], tree: Any) -> Any:
    """Shards a tree alike in every program, so that none has to lay it out again."""
    if mesh is None:
        return tree
    return jax.tree.map(
        lambda leaf: jax.lax.with_sharding_constraint(leaf, sharding(mesh, axes, leaf.shape)),
        tree,
    )
