"""Log-probabilities of given tokens, many sequences at a time.

    sequences (ids, start) --- shared_rows ---> rows: trees, in which a prefix comes once
                                                  |
                                                batches   of one power-of-two length
                                                  v
    Scored(logprobs, greedy, ranks, top) <--- score_batch: logits of the scored tokens alone

Of many answers to one prompt, the prompt is run once, and each answer attends to it and to itself.
There are few lengths and few numbers of rows, so that the number of shapes is bounded.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import cycle
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from vcjax.core.errors import UserError
from vcjax.generate.requests import MAX_TOP_LOGPROBS, Scored
from vcjax.generate.token_trees import CHUNK, Batch, Sequences, batches, power_of_two, shared_rows
from vcjax.model.build import Params
from vcjax.model.config import LlamaConfig

TOKEN_BUDGET = 2048
"""Tokens of a batch, padding included."""
T = TypeVar("T")


def score(
    graph: Any,
    params: Params,
    sequences: Sequences,
    *,
    top: int = 0,
    token_budget: int = TOKEN_BUDGET,
    on_scored: Callable[[int, Scored], None] | None = None,
    copies: Sequence[Params] = (),
) -> list[Scored]:
    """Scores `ids[start:]` of each sequence `(ids, start)`, and returns them in the same order.

    The longest rows are run first. The other sequences change a sequence's scores in the last bits
    at most: another shape sums in another order.

    Args:
      graph, params: of a model, stacked or not.
      sequences: `start` is at least 1, and the last id needs no room in the model's context.
      top: number of most likely tokens that are returned for each position.
      token_budget: tokens of a batch; a longer sequence is run alone.
      on_scored: called with each index and its result as it comes, for progress.
      copies: of `params` on further devices. They take batches in turns, which are the same ones
        however many there are, and so are the scores.

    Raises:
      UserError: a sequence that is too long, has nothing to score, or has an unknown id.
    """
    config = nnx.merge(graph, params).config
    for index, (ids, start) in enumerate(sequences):
        _check(index, ids, start, config)
    wanted = min(top, config.vocab_size)
    computed = computed_top(wanted, config.vocab_size)
    rows = shared_rows(sequences, config.max_position, token_budget)
    is_tree = any(len(row.paths) > 1 for row in rows)
    results: dict[int, Scored] = {}
    everywhere = (params, *copies)
    outputs = (
        (batch, score_batch(graph, own, *batch.arrays(), top=computed, is_tree=is_tree))
        for batch, own in zip(batches(rows, token_budget), cycle(everywhere), strict=False)
    )
    # Each device runs a batch while the host reads one before it.
    for batch, arrays in _behind(outputs, len(everywhere)):
        for index, scored in _read(batch, arrays, wanted):
            results[index] = scored
            if on_scored is not None:
                on_scored(index, scored)
    return [results[index] for index in range(len(sequences))]


def _check(index: int, ids: Sequence[int], start: int, config: LlamaConfig) -> None:
    if not 1 <= start < len(ids):
        raise UserError(
            f"sequence {index}: of {len(ids)} tokens those from {start} on can't be scored; "
            "there must be one, and one before it"
        )
    if len(ids) - 1 > config.max_position:
        raise UserError(
            f"sequence {index}: {len(ids)} tokens don't fit a context of {config.max_position} "
            "and one more"
        )
    if not 0 <= min(ids) <= max(ids) < config.vocab_size:
        raise UserError(
            f"sequence {index}: has a token that isn't in the model's vocabulary of "
            f"{config.vocab_size}; tokenizer and model don't belong together"
        )


def _behind(items: Iterable[T], count: int) -> Iterator[T]:
    """Yields each item once `count` more have been computed."""
    previous: deque[T] = deque()
    for item in items:
        previous.append(item)
        if len(previous) > count:
            yield previous.popleft()
    yield from previous


@partial(jax.jit, static_argnames=("graph", "top", "is_tree"))
def score_batch(
    graph: Any,
    params: Params,
    tokens: Int[Array, "rows length"],
    positions: Int[Array, "rows length"],
    ends: Int[Array, "rows length"],
    indices: Int[Array, " room"],
    targets: Int[Array, " room"],
    count: Int[Array, ""],
    top: int,
    is_tree: bool,
) -> tuple[
    Float[Array, " room"],
    Bool[Array, " room"],
    Int[Array, " room"],
    Int[Array, "room top"],
    Float[Array, "room top"],
]:
    """Log-probabilities of `targets` after `indices`, which are into the flat `tokens`.

    Args:
      positions, ends: of the tokens in their tree; see `tree_attention`. Padding continues nothing.
      count: number of `indices` that are real; the results of the others are zeros.
      is_tree: whether there is a row with more than one path.

    Returns:
      For each index the target's log-probability, whether it is the most likely token, its rank,
      and the `top` most likely tokens with theirs.
    """
    model = nnx.merge(graph, params)
    # In a row of one path all ends are the same one, so they are its segment.
    hidden = model(tokens, positions, ends, is_tree=is_tree)
    hidden = hidden.reshape(-1, hidden.shape[-1])
    return score_targets(model, hidden, indices, targets, count, top)


def score_targets(
    model: Any,
    hidden: Float[Array, "tokens d"],
    indices: Int[Array, " room"],
    targets: Int[Array, " room"],
    count: Int[Array, ""],
    top: int,
) -> tuple[
    Float[Array, " room"],
    Bool[Array, " room"],
    Int[Array, " room"],
    Int[Array, "room top"],
    Float[Array, "room top"],
]:
    """The results of `score_batch`, of hidden states; for use inside a compiled program."""
    room = len(indices)
    chunk = min(CHUNK, room)

    # In chunks: the logits of 2,048 positions and 128,000 tokens would take a gigabyte.
    def step(number: Array, results: tuple[Array, ...]) -> tuple[Array, ...]:
        def piece(whole: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(whole, number * chunk, chunk)

        logits, target = model.logits(hidden[piece(indices)]), piece(targets)
        norm = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
        chosen = jnp.take_along_axis(logits, target[:, None], axis=-1)
        best, ids = jax.lax.top_k(logits, top)
        ranks = jnp.sum(logits >= chosen, axis=-1)
        greedy = jnp.argmax(logits, axis=-1) == target
        parts = (chosen - norm)[:, 0], greedy, ranks, ids, best - norm
        return tuple(
            jax.lax.dynamic_update_slice_in_dim(whole, part, number * chunk, 0)
            for whole, part in zip(results, parts, strict=True)
        )

    results = (
        jnp.zeros((room,), jnp.float32),
        jnp.zeros((room,), bool),
        jnp.zeros((room,), jnp.int32),
        jnp.zeros((room, top), jnp.int32),
        jnp.zeros((room, top), jnp.float32),
    )
    # `count` is traced: one program stops after the real positions, however many there are.
    return jax.lax.fori_loop(0, (count + chunk - 1) // chunk, step, results)


def computed_top(wanted: int, vocab_size: int) -> int:
    """The number of alternatives that programs compute: as each number is another program, it is
    the most that requests may ask for, and a power of two beyond."""
    if not wanted:
        return 0
    return min(power_of_two(wanted) if wanted > MAX_TOP_LOGPROBS else MAX_TOP_LOGPROBS, vocab_size)


def _read(batch: Batch, results: tuple[Array, ...], top: int) -> Iterator[tuple[int, Scored]]:
    arrays = [np.asarray(each) for each in results]
    done = 0
    for path in batch.paths:
        end = done + len(path.targets)
        yield path.index, scored_of(arrays, done, end, top)
        done = end


def scored_of(results: Sequence[np.ndarray], start: int, end: int, top: int) -> Scored:
    """The results of `score_targets` from `start` to `end`, with `top` alternatives each."""
    logprobs, greedy, ranks, ids, best = (each[start:end] for each in results)
    alternatives = tuple(
        tuple(zip(some_ids, some, strict=True))
        for some_ids, some in zip(ids[:, :top].tolist(), best[:, :top].tolist(), strict=True)
    )
    return Scored(
        tuple(logprobs.tolist()),
        tuple(greedy.tolist()),
        tuple(ranks.tolist()),
        alternatives if top else (),
    )
