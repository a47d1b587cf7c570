"""Log-probabilities of given tokens, many sequences at a time; see `vcjax.generate.rows`.

Scores over the vocabulary are computed only where they are asked for, a few tokens at a time.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from vcjax.core.errors import UserError
from vcjax.generate.requests import Alternatives
from vcjax.generate.rows import CHUNK, Call, Sequences, calls, power_of_two, shared_rows
from vcjax.model.build import Params

TOKEN_BUDGET = 2048
"""Tokens a call, padding included."""

T = TypeVar("T")


@dataclass(frozen=True)
class Scored:
    """What a model says of the tokens `ids[start:]` of a sequence.

    Attributes:
      logprobs: natural log-probability of each, given all that is before it.
      greedy: whether each is the most likely one in its place.
      top: the most likely tokens in the place of each; empty where none were asked for.
    """

    logprobs: tuple[float, ...]
    greedy: tuple[bool, ...]
    top: tuple[Alternatives, ...] = ()


def score(
    graph: Any,
    params: Params,
    sequences: Sequences,
    *,
    top: int = 0,
    token_budget: int = TOKEN_BUDGET,
    on_scored: Callable[[int, Scored], None] | None = None,
) -> list[Scored]:
    """Scores `ids[start:]` of each sequence `(ids, start)`; results come in the order asked.

    The longest rows are run first. What a sequence gets doesn't depend on the others, but for the
    last bits: another shape sums in another order.

    Args:
      graph, params: of a model, stacked or not.
      sequences: `start` is at least 1, and the last id needs no room in the model's context.
      top: how many of the most likely tokens are told in each place.
      token_budget: tokens a call; a longer sequence is run alone.
      on_scored: told each index and its result as it comes, for progress.

    Raises:
      UserError: a sequence that is too long, has nothing to score, or has an unknown id.
    """
    config = nnx.merge(graph, params).config
    for index, (ids, start) in enumerate(sequences):
        _check(index, ids, start, config.max_position, config.vocab_size)
    wanted = min(top, config.vocab_size)
    kept = min(power_of_two(wanted), config.vocab_size) if wanted else 0
    results: dict[int, Scored] = {}
    begun = (
        (call, score_rows(graph, params, *call.arrays(sequences), kept))
        for call in calls(shared_rows(sequences, config.max_position), token_budget)
    )
    # The devices run a call while the host reads the one before it.
    for call, outputs in _one_behind(begun):
        for index, scored in _read(call, outputs, sequences, wanted):
            results[index] = scored
            if on_scored is not None:
                on_scored(index, scored)
    return [results[index] for index in range(len(sequences))]


def _check(index: int, ids: Sequence[int], start: int, context: int, vocab_size: int) -> None:
    if not 1 <= start < len(ids):
        raise UserError(
            f"sequence {index}: of {len(ids)} tokens those from {start} on can't be scored; "
            "there must be one, and one before it"
        )
    if len(ids) - 1 > context:
        raise UserError(
            f"sequence {index}: {len(ids)} tokens don't fit a context of {context} and one more"
        )
    if not 0 <= min(ids) <= max(ids) < vocab_size:
        raise UserError(
            f"sequence {index}: has a token that isn't in the model's vocabulary of {vocab_size}; "
            "tokenizer and model don't belong together"
        )


def _one_behind(items: Iterable[T]) -> Iterator[T]:
    """Yields each item when the one after it is there."""
    held: list[T] = []
    for item in items:
        yield from held
        held = [item]
    yield from held


@partial(jax.jit, static_argnames=("graph", "top"))
def score_rows(
    graph: Any,
    params: Params,
    tokens: Int[Array, "rows length"],
    lengths: Int[Array, " rows"],
    places: Int[Array, " room"],
    targets: Int[Array, " room"],
    count: Int[Array, ""],
    top: int,
) -> tuple[
    Float[Array, " room"], Bool[Array, " room"], Int[Array, "room top"], Float[Array, "room top"]
]:
    """Log-probabilities of `targets` after `places`, counted through all rows.

    Args:
      lengths: of the rows; what lies beyond is padding.
      count: how many of `places` are asked for; the results of the others are zeros.

    Returns:
      For each place the target's log-probability, whether it is the most likely token, and the
      `top` most likely tokens with theirs.
    """
    model = nnx.merge(graph, params)
    at = jnp.broadcast_to(jnp.arange(tokens.shape[1])[None], tokens.shape)
    hidden = model(tokens, at, (at < lengths[:, None]).astype(jnp.int32))
    hidden = hidden.reshape(-1, hidden.shape[-1])
    room = len(places)
    chunk = min(CHUNK, room)

    def step(number: Array, results: tuple[Array, ...]) -> tuple[Array, ...]:
        def piece(whole: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(whole, number * chunk, chunk)

        logits, target = model.logits(hidden[piece(places)]), piece(targets)
        norm = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
        chosen = jnp.take_along_axis(logits, target[:, None], axis=-1)
        best, ids = jax.lax.top_k(logits, top)
        parts = (chosen - norm)[:, 0], jnp.argmax(logits, axis=-1) == target, ids, best - norm
        return tuple(
            jax.lax.dynamic_update_slice_in_dim(whole, part, number * chunk, 0)
            for whole, part in zip(results, parts, strict=True)
        )

    results = (
        jnp.zeros((room,), jnp.float32),
        jnp.zeros((room,), bool),
        jnp.zeros((room, top), jnp.int32),
        jnp.zeros((room, top), jnp.float32),
    )
    return jax.lax.fori_loop(0, (count + chunk - 1) // chunk, step, results)


def _read(
    call: Call,
    results: tuple[Array, ...],
    sequences: Sequences,
    top: int,
) -> Iterator[tuple[int, Scored]]:
    logprobs, greedy, ids, best = (np.asarray(each) for each in results)
    done = 0
    for row in call.rows:
        for member in row.members:
            end = done + len(sequences[member][0]) - sequences[member][1]
            alternatives = tuple(
                tuple(zip(ids[n, :top].tolist(), best[n, :top].tolist(), strict=True))
                for n in range(done, end if top else done)
            )
            yield (
                member,
                Scored(
                    tuple(logprobs[done:end].tolist()),
                    tuple(greedy[done:end].tolist()),
                    alternatives,
                ),
            )
            done = end
