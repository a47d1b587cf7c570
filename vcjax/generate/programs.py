"""What the devices run for the engine: compiled once for each shape, shared by engines.

The cache holds a row for each slot. A *window* is how much of the rows a program looks at; there
are few of them, so that the number of shapes stays bounded.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from vcjax.generate.sampling import Drawn, Settings, count, draw
from vcjax.model.build import Params
from vcjax.model.llama import Cache, init_cache
from vcjax.parallel import OnMesh, sharding

CACHE_AXES = ("batch", "kv_heads", "head_dim", "head_dim")
"""Of a layer's keys: slots over the copies of the model, heads over its shards."""
POOL_AXES = ("layers", *CACHE_AXES[1:])
_LOGITS_AXES = ("batch", "head_dim")


@partial(jax.jit, static_argnames=("graph", "on", "window"), donate_argnames=("cache", "logits"))
def prefill(
    graph: Any,
    on: OnMesh | None,
    params: Params,
    cache: Cache,
    logits: Float[Array, "slots vocab"],
    tokens: Int[Array, "1 length"],
    start: Int[Array, ""],
    number: Int[Array, ""],
    slot: Int[Array, ""],
    window: int,
) -> tuple[Cache, Float[Array, "slots vocab"]]:
    """Runs the next part of a slot's prompt; the slot's logits become those after it.

    Args:
      start: tokens of the prompt that the cache has.
      number: how many of `tokens` are real. What the others write is overwritten later.
      window: at least `start + number`.
    """
    model = nnx.merge(graph, params)

    def row(leaf: Array) -> Array:
        return jax.lax.dynamic_slice(
            leaf, (slot, 0, 0, 0), (1, leaf.shape[1], window, leaf.shape[3])
        )

    positions = start + jnp.arange(tokens.shape[1])[None]
    hidden, own = model.extend(tokens, positions, jax.tree.map(row, cache))
    last = jax.lax.dynamic_slice_in_dim(hidden, number - 1, 1, axis=1)
    cache = jax.tree.map(
        lambda whole, part: jax.lax.dynamic_update_slice(whole, part, (slot, 0, 0, 0)), cache, own
    )
    logits = jax.lax.dynamic_update_slice(logits, model.logits(last)[:, 0], (slot, 0))
    return _placed(on, CACHE_AXES, cache), _placed(on, _LOGITS_AXES, logits)


@partial(jax.jit, static_argnames=("graph", "on"), donate_argnames=("cache", "logits"))
def extend(
    graph: Any,
    on: OnMesh | None,
    params: Params,
    cache: Cache,
    logits: Float[Array, "slots vocab"],
    tokens: Int[Array, " slots"],
    positions: Int[Array, " slots"],
) -> tuple[Cache, Float[Array, "slots vocab"]]:
    """Runs one token of every slot; a position beyond the cache writes nothing.

    `logits` are the former ones, whose memory the new ones take.
    """
    model = nnx.merge(graph, params)
    hidden, cache = model.extend(tokens[:, None], positions[:, None], cache)
    return _placed(on, CACHE_AXES, cache), _placed(on, _LOGITS_AXES, model.logits(hidden[:, 0]))


@partial(jax.jit, static_argnames=("top",), donate_argnames=("counts",))
def choose(
    logits: Float[Array, "slots vocab"],
    counts: Int[Array, "slots vocab"],
    settings: Settings,
    top: int,
) -> tuple[Drawn, Int[Array, "slots vocab"]]:
    """Draws a token for every slot; see `vcjax.generate.sampling`."""
    drawn = draw(logits, counts, settings, top)
    counts = jax.lax.cond(settings.penalised, lambda c: count(c, drawn.tokens), lambda c: c, counts)
    return drawn, counts


@partial(jax.jit, donate_argnames=("counts",))
def enter(
    counts: Int[Array, "slots vocab"], prompt: Int[Array, " length"], slot: Int[Array, ""]
) -> Int[Array, "slots vocab"]:
    """Begins a slot's counts with its prompt; ids beyond the vocabulary are padding."""
    row = jnp.zeros_like(counts[0]).at[prompt].set(1, mode="drop")
    return counts.at[slot].set(row)


@partial(jax.jit, static_argnames=("on",), donate_argnames=("pool",))
def keep(
    on: OnMesh | None,
    pool: Cache,
    cache: Cache,
    slot: Int[Array, ""],
    blocks: Int[Array, " blocks"],
) -> Cache:
    """Copies the beginning of a slot's row into blocks of the pool; a block beyond it is none."""
    size = pool[0][0].shape[2]

    def kept(into: Array, leaf: Array) -> Array:
        shape = 1, leaf.shape[1], len(blocks) * size, leaf.shape[3]
        row = jax.lax.dynamic_slice(leaf, (slot, 0, 0, 0), shape)[0]
        apart = row.reshape(shape[1], len(blocks), size, shape[3])
        return into.at[blocks].set(jnp.moveaxis(apart, 1, 0), mode="drop")

    return _placed(on, POOL_AXES, jax.tree.map(kept, pool, cache))


@partial(jax.jit, static_argnames=("on",), donate_argnames=("cache",))
def recall(
    on: OnMesh | None,
    pool: Cache,
    cache: Cache,
    slot: Int[Array, ""],
    blocks: Int[Array, " blocks"],
) -> Cache:
    """Copies blocks of the pool to the beginning of a slot's row."""

    def recalled(leaf: Array, held: Array) -> Array:
        row = jnp.moveaxis(held[blocks], 0, 1).reshape(1, leaf.shape[1], -1, leaf.shape[3])
        return jax.lax.dynamic_update_slice(leaf, row, (slot, 0, 0, 0))

    return _placed(on, CACHE_AXES, jax.tree.map(recalled, cache, pool))


@partial(jax.jit, static_argnames=("on", "context"))
def resized(on: OnMesh | None, cache: Cache, context: int) -> Cache:
    """The cache with longer or shorter rows."""

    def leaf(whole: Array) -> Array:
        more = context - whole.shape[2]
        if more <= 0:
            return whole[:, :, :context]
        return jnp.pad(whole, ((0, 0), (0, 0), (0, more), (0, 0)))

    return _placed(on, CACHE_AXES, jax.tree.map(leaf, cache))


def new_cache(config: Any, on: OnMesh | None, slots: int, context: int, dtype: Any) -> Cache:
    """An empty cache where it is to lie."""
    return _made(config, on, CACHE_AXES, slots, context, dtype)


@partial(jax.jit, static_argnames=("on", "slots", "vocab"))
def new_logits(on: OnMesh | None, slots: int, vocab: int) -> Float[Array, "slots vocab"]:
    """Logits of rows that have none yet."""
    return _placed(on, _LOGITS_AXES, jnp.zeros((slots, vocab), jnp.float32))


def new_pool(config: Any, on: OnMesh | None, blocks: int, size: int, dtype: Any) -> Cache:
    """Empty blocks, each of `size` tokens, for beginnings of rows."""
    return _made(config, on, POOL_AXES, blocks, size, dtype)


@partial(jax.jit, static_argnames=("config", "on", "axes", "rows", "context", "dtype"))
def _made(
    config: Any, on: OnMesh | None, axes: tuple[str, ...], rows: int, context: int, dtype: Any
) -> Cache:
    return _placed(on, axes, init_cache(config, rows, context, dtype))


def _placed(on: OnMesh | None, axes: tuple[str, ...], tree: Any) -> Any:
    """The tree, laid over the mesh where there is one, so that every program finds it alike."""
    if on is None:
        return tree
    return jax.tree.map(
        lambda leaf: jax.lax.with_sharding_constraint(
            leaf, sharding(on.mesh, on.rules, axes, leaf.shape)
        ),
        tree,
    )
