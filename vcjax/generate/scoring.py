"""Log-probabilities of given tokens, many sequences at a time.

Sequences are run in batches of power-of-two lengths, so that the number of shapes is bounded. A
sequence whose inputs are a prefix of another's is read from that row: of many one-token
continuations of one context, one row is run. Logits exist only for the tokens that are scored, a
few at a time.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from vcjax.core.errors import UserError
from vcjax.generate.requests import Alternatives
from vcjax.model.build import Params
from vcjax.model.config import LlamaConfig

TOKEN_BUDGET = 2048
"""Tokens of a batch, padding included."""
MIN_LENGTH = 64
_CHUNK = 128
"""Positions whose logits are computed together."""

Sequences = Sequence[tuple[Sequence[int], int]]
"""Token ids, and the index of the first one that is to be scored."""
T = TypeVar("T")


@dataclass(frozen=True)
class Scored:
    """A model's scores of the tokens `ids[start:]` of a sequence.

    Attributes:
      logprobs: natural log-probability of each, given all tokens before it.
      greedy: whether each is the most likely one at its position.
      top: the most likely tokens at the position of each; empty where none were requested.
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
    """Scores `ids[start:]` of each sequence `(ids, start)`, and returns them in the same order.

    The longest rows are run first. The other sequences change a sequence's scores in the last bits
    at most: another shape sums in another order.

    Args:
      graph, params: of a model, stacked or not.
      sequences: `start` is at least 1, and the last id needs no room in the model's context.
      top: number of most likely tokens that are returned for each position.
      token_budget: tokens of a batch; a longer sequence is run alone.
      on_scored: called with each index and its result as it comes, for progress.

    Raises:
      UserError: a sequence that is too long, has nothing to score, or has an unknown id.
    """
    config = nnx.merge(graph, params).config
    for index, (ids, start) in enumerate(sequences):
        _check(index, ids, start, config)
    wanted = min(top, config.vocab_size)
    # A power of two, as each number is another program.
    computed = min(power_of_two(wanted), config.vocab_size) if wanted else 0
    results: dict[int, Scored] = {}
    outputs = (
        (batch, score_batch(graph, params, *batch.arrays(sequences), top=computed))
        for batch in batches(shared_rows(sequences, config.max_position), token_budget)
    )
    # The devices run a batch while the host reads the one before it.
    for batch, arrays in _one_behind(outputs):
        for index, scored in _read(batch, arrays, sequences, wanted):
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


def _one_behind(items: Iterable[T]) -> Iterator[T]:
    """Yields each item once the next one has been computed."""
    previous: list[T] = []
    for item in items:
        yield from previous
        previous = [item]
    yield from previous


@partial(jax.jit, static_argnames=("graph", "top"))
def score_batch(
    graph: Any,
    params: Params,
    tokens: Int[Array, "rows length"],
    lengths: Int[Array, " rows"],
    positions: Int[Array, " room"],
    targets: Int[Array, " room"],
    count: Int[Array, ""],
    top: int,
) -> tuple[
    Float[Array, " room"], Bool[Array, " room"], Int[Array, "room top"], Float[Array, "room top"]
]:
    """Log-probabilities of `targets` after `positions`, which are indices into the flat `tokens`.

    Args:
      lengths: of the rows; what follows is padding.
      count: number of `positions` that are real; the results of the others are zeros.

    Returns:
      For each position the target's log-probability, whether it is the most likely token, and the
      `top` most likely tokens with theirs.
    """
    model = nnx.merge(graph, params)
    at = jnp.broadcast_to(jnp.arange(tokens.shape[1])[None], tokens.shape)
    hidden = model(tokens, at, (at < lengths[:, None]).astype(jnp.int32))
    hidden = hidden.reshape(-1, hidden.shape[-1])
    room = len(positions)
    chunk = min(_CHUNK, room)

    # In chunks: the logits of 2,048 positions and 128,000 tokens would take a gigabyte.
    def step(number: Array, results: tuple[Array, ...]) -> tuple[Array, ...]:
        def piece(whole: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(whole, number * chunk, chunk)

        logits, target = model.logits(hidden[piece(positions)]), piece(targets)
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
    batch: "Batch", results: tuple[Array, ...], sequences: Sequences, top: int
) -> Iterator[tuple[int, Scored]]:
    logprobs, greedy, ids, best = (np.asarray(each) for each in results)
    done = 0
    for row in batch.rows:
        for member in row.members:
            end = done + len(sequences[member][0]) - sequences[member][1]
            alternatives = tuple(
                tuple(zip(ids[n, :top].tolist(), best[n, :top].tolist(), strict=True))
                for n in range(done, end if top else done)
            )
            own = slice(done, end)
            scored = Scored(
                tuple(logprobs[own].tolist()), tuple(greedy[own].tolist()), alternatives
            )
            yield member, scored
            done = end


# --------------------------------------------------------------------------------------- batches


@dataclass
class Row:
    """Token ids to run, and the sequences that are read from them.

    Attributes:
      length: that the ids are padded to.
      members: indices of the sequences.
      targets: number of tokens of the sequences that are scored; at most `length`.
    """

    ids: tuple[int, ...]
    length: int
    members: list[int]
    targets: int


@dataclass(frozen=True)
class Batch:
    """Rows of one length that are run together, with empty ones up to `count`."""

    rows: tuple[Row, ...]
    count: int

    def arrays(self, sequences: Sequences) -> tuple[np.ndarray, ...]:
        """The arguments `tokens` to `count` of `score_batch`."""
        length = self.rows[0].length
        tokens = np.zeros((self.count, length), np.int32)
        lengths = np.zeros((self.count,), np.int32)
        room = tokens.size + -tokens.size % min(_CHUNK, tokens.size)
        positions, targets = np.zeros((2, room), np.int32)
        done = 0
        for number, row in enumerate(self.rows):
            tokens[number, : len(row.ids)] = row.ids
            lengths[number] = len(row.ids)
            for member in row.members:
                ids, start = sequences[member]
                size = len(ids) - start
                first = number * length + start - 1
                positions[done : done + size] = np.arange(first, first + size)
                targets[done : done + size] = ids[start:]
                done += size
        return tokens, lengths, positions, targets, np.asarray(done, np.int32)


def shared_rows(sequences: Sequences, max_position: int) -> list[Row]:
    """The rows to run, the longest first, each with the sequences whose inputs are its prefix."""
    inputs = [tuple(ids[:-1]) for ids, _ in sequences]
    rows: list[Row] = []
    # In this order a prefix comes right after what it is a prefix of.
    for index in sorted(range(len(inputs)), key=inputs.__getitem__, reverse=True):
        ids, targets = inputs[index], len(sequences[index][0]) - sequences[index][1]
        row = rows[-1] if rows else None
        if row is not None and row.targets + targets <= row.length and row.ids[: len(ids)] == ids:
            row.members.append(index)
            row.targets += targets
        else:
            rows.append(Row(ids, _padded_length(len(ids), max_position), [index], targets))
    return sorted(rows, key=lambda row: -row.length)


def batches(rows: Sequence[Row], token_budget: int) -> Iterator[Batch]:
    """Batches of rows of one length, as large as the budget of tokens allows."""
    for length, group in groupby(rows, key=lambda row: row.length):
        counts, left = _row_counts(length, token_budget), list(group)
        while left:
            # A batch may have more rows than are left, but more than half of them are real.
            count = max(each for each in counts if each < 2 * len(left))
            yield Batch(tuple(left[:count]), count)
            left = left[count:]


def _row_counts(length: int, token_budget: int) -> list[int]:
    """Numbers of rows that a batch may have: 1, 4, 16 and so on, and the largest that fits."""
    most = max(1, token_budget // length)
    return [*(4**n for n in range(most.bit_length()) if 4**n < most), most]


def _padded_length(length: int, max_position: int) -> int:
    return min(max(MIN_LENGTH, power_of_two(length)), max_position)


def power_of_two(least: int) -> int:
    """The smallest power of two that is at least `least`."""
    return 1 << (least - 1).bit_length()
