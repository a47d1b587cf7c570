"""The compiled programs of an engine whose cache has pages: one for each number of tokens."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, UInt

from vcjax.generate.programs import LOGITS_AXES, constrain
from vcjax.generate.slots import NO_POSITION, columns_of, positions_of
from vcjax.model.attention.paged import POOL_AXES, Ragged
from vcjax.model.build import Params
from vcjax.model.config import LlamaConfig
from vcjax.model.llama import PagePool, init_pages
from vcjax.parallel import AnyMesh

CHUNK_FIELDS = ("rank", "start", "count", "is_last")
"""The first columns behind a slot's row: its chunk's index among all chunks; the position of the
chunk's first token; the number of its tokens, 0 where the slot has no chunk; whether the prompt
ends with it. The pages of the slot follow."""


class _Step(NamedTuple):
    """What a step runs.

    Attributes:
      slots: of each sequence of `ragged`.
      is_drawn: which slots run the token that was drawn for them.
      ends: of each slot the index of its last token, where the logits after it are wanted.
      is_ending: where they are.
    """

    ragged: Ragged
    slots: Int[Array, " slots"]
    is_drawn: Bool[Array, " slots"]
    ends: Int[Array, " slots"]
    is_ending: Bool[Array, " slots"]


# The pool is donated; see `vcjax.generate.programs`.
@partial(jax.jit, static_argnames=("graph", "mesh"), donate_argnames=("pool", "logits"))
def run(
    graph: Any,
    mesh: AnyMesh | None,
    params: Params,
    pool: PagePool,
    logits: Float[Array, "slots vocab"],
    *,
    prompts: Int[Array, " tokens"],
    drawn: Int[Array, " slots"],
    rows: UInt[Array, "slots fields"],
) -> tuple[PagePool, Float[Array, "slots vocab"], Float[Array, "tokens d"]]:
    """Runs chunks of prompts and the tokens that were drawn, in one pass over the weights.

    Args:
      prompts: the chunks' tokens, behind one another by rank, then room for the drawn ones.
      drawn: a token for each slot, of which those are run that decode.
      rows: of the slots, each with the columns of a cache of pages.

    Returns:
      The pool; the logits, new ones where a slot decodes or its prompt has ended; and the hidden
      states, in the order of `prompts`.
    """
    model = nnx.merge(graph, params)
    step = _step(rows)
    slots = step.slots[step.ragged.tokens(len(prompts))[0]]
    tokens = jnp.where(step.is_drawn[slots], drawn[slots], prompts)
    hidden, pool = model.extend_pages(tokens, pool, step.ragged, mesh)
    own = model.logits(hidden[jnp.where(step.is_ending, step.ends, 0)])
    logits = jnp.where(step.is_ending[:, None], own, logits)
    return constrain(mesh, POOL_AXES, pool), constrain(mesh, LOGITS_AXES, logits), hidden


@partial(jax.jit, static_argnames=("config", "mesh", "pages", "dtype"))
def new_pages(config: LlamaConfig, mesh: AnyMesh | None, *, pages: int, dtype: Any) -> PagePool:
    """An empty pool on the devices."""
    return constrain(mesh, POOL_AXES, init_pages(config, pages, dtype))


def _step(rows: UInt[Array, "slots fields"]) -> _Step:
    columns, position = columns_of(rows), positions_of(rows)
    rank, start, count, is_last = columns[:, : len(CHUNK_FIELDS)].T
    pages, number = columns[:, len(CHUNK_FIELDS) :], len(rows)
    is_drawn = position < NO_POSITION
    # The chunks first, as the host has laid their tokens out; what has nothing to run comes last.
    order = jnp.where(count > 0, rank, jnp.where(is_drawn, number, number + 1))
    slots = jnp.argsort(order, stable=True)
    tokens = jnp.where(is_drawn, 1, count)
    lengths = jnp.where(is_drawn, position, start) + tokens
    starts = jnp.concatenate([jnp.zeros((1,), jnp.int32), jnp.cumsum(tokens[slots])])
    ragged = Ragged(pages[slots], lengths[slots], starts, jnp.sum(tokens > 0, keepdims=True))
    ends = jnp.zeros_like(tokens).at[slots].set(starts[1:] - 1)
    return _Step(ragged, slots, is_drawn, ends, is_drawn | (is_last > 0))
