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

from vcjax.generate.sampling import Drawn, SamplingBatch, count, draw
from vcjax.generate.scoring import score_targets
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
_LOGITS_AXES = ("batch", "head_dim")


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
    tokens: Int[Array, "tiles length"],
    starts: Int[Array, " tiles"],
    slots: Int[Array, " tiles"],
    ends: Int[Array, " slots"],
) -> tuple[Cache, Float[Array, "slots vocab"], Float[Array, "tiles*length d"]]:
    """Runs tiles of prompts; where a prompt ends, its slot's logits become those after it.

    The hidden states are returned as well, for the scores of prompts. They are of every prompt, as
    another program for those that are scored would differ in the last bits.

    Args:
      tokens: what is behind a prompt's end is padding, and is overwritten later.
      starts: positions of the tiles' first tokens.
      slots: of the tiles; one that doesn't exist writes nothing.
      ends: index of each slot's last token among all tokens; their number where no prompt ends.
    """
    model = nnx.merge(graph, params)
    positions = starts[:, None] + jnp.arange(tokens.shape[1])
    hidden, cache = model.extend(tokens, positions, cache, slots)
    hidden = hidden.reshape(tokens.size, -1)
    # Of all slots, as many rows as decoding has: the logits of a prompt are the same to the bit,
    # however many prompts end with it.
    own = model.logits(hidden[jnp.minimum(ends, tokens.size - 1)])
    logits = jnp.where((ends < tokens.size)[:, None], own, logits)
    return _constrain(mesh, CACHE_AXES, cache), _constrain(mesh, _LOGITS_AXES, logits), hidden


@partial(jax.jit, static_argnames=("graph", "top"))
def score_chunk(
    graph: Any,
    params: Params,
    hidden: Float[Array, "length d"],
    first: Int[Array, ""],
    targets: Int[Array, " length"],
    count: Int[Array, ""],
    top: int,
) -> tuple[Array, ...]:
    """Scores the token after each of a chunk's; see `vcjax.generate.scoring.score_targets`.

    Args:
      hidden: from `prefill`; the chunk is there from the index `first` on.
      count: number of `targets` that are real.
    """
    model = nnx.merge(graph, params)
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
    tokens: Int[Array, " slots"],
    positions: Int[Array, " slots"],
) -> tuple[Cache, Float[Array, "slots vocab"]]:
    """Runs one token of every slot; a position beyond the cache writes nothing.

    Args:
      logits: those of the step before, whose memory the new ones take.
    """
    model = nnx.merge(graph, params)
    hidden, cache = model.extend(tokens[:, None], positions[:, None], cache)
    logits = model.logits(hidden[:, 0])
    return _constrain(mesh, CACHE_AXES, cache), _constrain(mesh, _LOGITS_AXES, logits)


@partial(jax.jit, static_argnames=("top",), donate_argnames=("counts",))
def sample(
    logits: Float[Array, "slots vocab"],
    counts: Int[Array, "slots vocab"],
    batch: SamplingBatch,
    top: int,
) -> tuple[Drawn, Int[Array, "slots vocab"]]:
    """Draws a token for every slot, and counts it where any slot has a penalty."""
    drawn = draw(logits, counts, batch, top)
    counts = jax.lax.cond(
        batch.any_penalised, lambda c: count(c, drawn.tokens), lambda c: c, counts
    )
    return drawn, counts


@partial(jax.jit, donate_argnames=("counts",))
def count_prompt(
    counts: Int[Array, "slots vocab"], prompt: Int[Array, " length"], slot: Int[Array, ""]
) -> Int[Array, "slots vocab"]:
    """Sets a slot's counts to those of its prompt; ids beyond the vocabulary are padding."""
    # 1 is bit 0; see `sampling.count`. Set and not added: an id may occur several times.
    row = jnp.zeros_like(counts[0]).at[prompt].set(1, mode="drop")
    return counts.at[slot].set(row)


@partial(jax.jit, static_argnames=("mesh",), donate_argnames=("pool",))
def store_prefix(
    mesh: AnyMesh | None,
    pool: Cache,
    cache: Cache,
    slot: Int[Array, ""],
    blocks: Int[Array, " blocks"],
) -> Cache:
    """Copies the first blocks of a slot to these blocks of the pool; indices beyond it are skipped.

    Returns:
      The pool.
    """

    def stored(into: Array, leaf: Array) -> Array:
        row = jax.lax.dynamic_index_in_dim(leaf, slot, keepdims=False)[:, : len(blocks)]
        return into.at[blocks, :, 0].set(jnp.moveaxis(row, 1, 0), mode="drop")

    return _constrain(mesh, POOL_AXES, jax.tree.map(stored, pool, cache))


@partial(jax.jit, static_argnames=("mesh",), donate_argnames=("cache",))
def load_prefix(
    mesh: AnyMesh | None,
    pool: Cache,
    cache: Cache,
    slot: Int[Array, ""],
    blocks: Int[Array, " blocks"],
) -> Cache:
    """Copies blocks of the pool to the start of a slot, and returns the cache."""

    def loaded(leaf: Array, pooled: Array) -> Array:
        row = jnp.moveaxis(pooled[blocks, :, 0], 0, 1)[None]
        return jax.lax.dynamic_update_slice(leaf, row, (slot, 0, 0, 0, 0))

    return _constrain(mesh, CACHE_AXES, jax.tree.map(loaded, cache, pool))


# It isn't donated: XLA reuses memory for results of the same shape alone.
@partial(jax.jit, static_argnames=("mesh", "blocks"))
def resize(
    mesh: AnyMesh | None, whole: Float[Array, "slots kv_heads before m n"], blocks: int
) -> Float[Array, "slots kv_heads blocks m n"]:
    """An array of the cache with room for so many blocks in each slot, more or fewer than
    before."""
    more = blocks - whole.shape[2]
    if more <= 0:
        return _constrain(mesh, CACHE_AXES, whole[:, :, :blocks])
    room = [(0, more if axis == 2 else 0) for axis in range(whole.ndim)]
    return _constrain(mesh, CACHE_AXES, jnp.pad(whole, room))


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
    return _constrain(mesh, axes, init_cache(config, rows, length, dtype))


@partial(jax.jit, static_argnames=("mesh", "slots", "vocab"))
def new_logits(mesh: AnyMesh | None, slots: int, vocab: int) -> Float[Array, "slots vocab"]:
    """Zero logits, for slots that have run nothing yet."""
    return _constrain(mesh, _LOGITS_AXES, jnp.zeros((slots, vocab), jnp.float32))


def _constrain(mesh: AnyMesh | None, axes: tuple[str, ...], tree: Any) -> Any:
    """Shards a tree alike in every program, so that none has to lay it out again."""
    if mesh is None:
        return tree
    return jax.tree.map(
        lambda leaf: jax.lax.with_sharding_constraint(leaf, sharding(mesh, axes, leaf.shape)),
        tree,
    )
