"""The compiled programs of the engine, one for each shape; engines of one shape share them.

The KV cache has a row of keys and values for each slot. A *window* is how much of the rows a
program reads; there are few windows, so the number of shapes stays bounded.
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
CACHE_AXES = ("batch", "kv_heads", "head_dim", "head_dim")
"""Logical axes of a layer's keys: slots over the copies of the model, heads over its shards."""
BLOCK_AXES = ("layers", *CACHE_AXES[1:])
"""The same of the prefix blocks, each [kv_heads, BLOCK, head_dim] as a part of a slot is. Every
copy of the model needs all blocks, as a prompt may be given to any slot."""
_LOGITS_AXES = ("batch", "head_dim")


# The cache is donated to every program that changes it, as there is no room for a second one. If
# such a program fails in the middle, the cache is gone (`DecodeState.is_intact`).
@partial(jax.jit, static_argnames=("graph", "mesh", "window"), donate_argnames=("cache", "logits"))
def prefill(
    graph: Any,
    mesh: AnyMesh | None,
    params: Params,
    cache: Cache,
    logits: Float[Array, "slots vocab"],
    *,
    tokens: Int[Array, "1 length"],
    start: Int[Array, ""],
    number: Int[Array, ""],
    slot: Int[Array, ""],
    window: int,
) -> tuple[Cache, Float[Array, "slots vocab"], Float[Array, "length d"]]:
    """Runs the next chunk of a slot's prompt; the slot's logits become those after it.

    The hidden states are returned as well, for the scores of the prompt. They are of every prompt,
    as another program for those that are scored would differ in the last bits.

    Args:
      start: number of tokens of the prompt that are in the cache.
      number: how many of `tokens` are real. What the padding writes is overwritten later.
      window: at least `start + number`.
    """
    model = nnx.merge(graph, params)

    def of_slot(leaf: Array) -> Array:
        return jax.lax.dynamic_slice(
            leaf, (slot, 0, 0, 0), (1, leaf.shape[1], window, leaf.shape[3])
        )

    # Padding may reach beyond the window: JAX drops what is written to an index out of bounds.
    positions = start + jnp.arange(tokens.shape[1])[None]
    hidden, row = model.extend(tokens, positions, jax.tree.map(of_slot, cache))
    last = jax.lax.dynamic_slice_in_dim(hidden, number - 1, 1, axis=1)
    cache = jax.tree.map(
        lambda whole, part: jax.lax.dynamic_update_slice(whole, part, (slot, 0, 0, 0)), cache, row
    )
    logits = jax.lax.dynamic_update_slice(logits, model.logits(last)[:, 0], (slot, 0))
    cache, logits = _constrain(mesh, CACHE_AXES, cache), _constrain(mesh, _LOGITS_AXES, logits)
    return cache, logits, hidden[0]


@partial(jax.jit, static_argnames=("graph", "top"))
def score_chunk(
    graph: Any,
    params: Params,
    hidden: Float[Array, "length d"],
    targets: Int[Array, " length"],
    count: Int[Array, ""],
    top: int,
) -> tuple[Array, ...]:
    """Scores the token after each of a chunk's; see `vcjax.generate.scoring.score_targets`.

    Args:
      hidden: of the chunk, from `prefill`.
      count: number of `targets` that are real.
    """
    model = nnx.merge(graph, params)
    return score_targets(model, hidden, jnp.arange(len(targets)), targets, count, top)


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
    size = pool[0][0].shape[2]

    def stored(into: Array, leaf: Array) -> Array:
        shape = 1, leaf.shape[1], len(blocks) * size, leaf.shape[3]
        row = jax.lax.dynamic_slice(leaf, (slot, 0, 0, 0), shape)[0]
        apart = row.reshape(shape[1], len(blocks), size, shape[3])
        return into.at[blocks].set(jnp.moveaxis(apart, 1, 0), mode="drop")

    return _constrain(mesh, BLOCK_AXES, jax.tree.map(stored, pool, cache))


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
        row = jnp.moveaxis(pooled[blocks], 0, 1).reshape(1, leaf.shape[1], -1, leaf.shape[3])
        return jax.lax.dynamic_update_slice(leaf, row, (slot, 0, 0, 0))

    return _constrain(mesh, CACHE_AXES, jax.tree.map(loaded, cache, pool))


# It isn't donated: XLA reuses memory for results of the same shape alone.
@partial(jax.jit, static_argnames=("mesh", "context"))
def resize(
    mesh: AnyMesh | None, whole: Float[Array, "slots kv_heads length head_dim"], context: int
) -> Float[Array, "slots kv_heads context head_dim"]:
    """An array of the cache with room for `context` tokens in each slot, more or fewer than
    before."""
    more = context - whole.shape[2]
    if more <= 0:
        return _constrain(mesh, CACHE_AXES, whole[:, :, :context])
    return _constrain(mesh, CACHE_AXES, jnp.pad(whole, ((0, 0), (0, 0), (0, more), (0, 0))))


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
      axes: CACHE_AXES, with `rows` slots of `length` tokens, or BLOCK_AXES, with `rows` blocks.
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
