"""Examples -> rows of fixed length: several examples packed into a row, or a preference's two.

In a row, segments count from 1 and 0 is padding; positions count from 0 in each segment; the
`loss_mask` belongs to the token that is predicted (the training step shifts), and is False for the
first token of each segment.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32

from vcjax.core.errors import UserError

Row = dict[str, np.ndarray]  # tokens, loss_mask, segment_ids, positions: [length] or [2, length]

DTYPES = {
    "tokens": np.dtype(np.int32),
    "loss_mask": np.dtype(np.bool_),
    "segment_ids": np.dtype(np.int32),
    "positions": np.dtype(np.int32),
}

OPEN_ROWS = 64  # rows kept open for a better fit: a bound on memory and on the search


@dataclass(frozen=True, eq=False)
class Example:
    """A tokenised record: `loss_mask` is True where the token is to be predicted."""

    ids: Int32[np.ndarray, " tokens"]
    loss_mask: Bool[np.ndarray, " tokens"]

    def __post_init__(self) -> None:
        if self.ids.shape != self.loss_mask.shape or self.ids.ndim != 1:
            raise ValueError(f"ids {self.ids.shape} and mask {self.loss_mask.shape} must be alike")


@dataclass(frozen=True, eq=False)
class Pair:
    """Two tokenised answers to the same prompt; only the answers are to be predicted."""

    chosen: Example
    rejected: Example


@dataclass
class PackingCounts:
    """Counts of a packing.

    Attributes:
      examples: examples given.
      split: examples cut into several pieces, all of them kept.
      truncated: examples whose end was cut off.
      dropped: examples left out because nothing of them could be learnt from.
      rows: rows made (for preferences, of two answers each).
      tokens: tokens in the rows, without padding.
      loss_tokens: tokens of them that are predicted.
      fill: share of the rows that is not padding.
    """

    examples: int = 0
    split: int = 0
    truncated: int = 0
    dropped: int = 0
    rows: int = 0
    tokens: int = 0
    loss_tokens: int = 0
    fill: float = 0.0


class Packer:
    """Packs a stream of examples: each piece goes to the open row that it fills best.

    The result depends on the order of the examples and on nothing else. A full row is returned at
    once; when too many are open, the fullest is.
    """

    def __init__(self, length: int, *, split_long: bool):
        """Makes a packer without open rows.

        Args:
          length: tokens of a row, 2 or more.
          split_long: True cuts a longer example into pieces, each a segment of its own (documents);
            False cuts off its end (conversations). Examples without a token to predict are dropped.

        Raises:
          UserError: `length` is below 2.
        """
        self.length = check_length(length)
        self.shape = (length,)
        self.split_long = split_long
        self.counts = PackingCounts()
        # Of every row with a single segment; not to be written into.
        self._ones = np.ones(length, DTYPES["segment_ids"])
        self._count = np.arange(length, dtype=DTYPES["positions"])
        self._ones.flags.writeable = self._count.flags.writeable = False
        self._open: list[list[Example]] = []
        self._space: list[int] = []

    def add(self, example: Example) -> list[Row]:
        """Takes an example; returns the rows that are finished by it."""
        counts, length = self.counts, self.length
        counts.examples += 1
        stop = len(example.ids) if self.split_long else min(len(example.ids), length)
        mask = example.loss_mask[:stop].copy()  # a view: the next line would change the example
        mask[::length] = False  # no token of its segment precedes it, so nothing predicts it
        # Whether anything is left to learn, once cut and without what no token precedes.
        if not mask.any():
            counts.dropped += 1
            return []
        if self.split_long:
            counts.split += stop > length
        else:
            counts.truncated += len(example.ids) > length
        # Most pieces of long documents are a row each.
        rows = [
            self._whole_row(example.ids[start : start + length], mask[start : start + length])
            for start in range(0, stop - length + 1, length)
        ]
        if rest := stop % length:
            row = self._add_piece(Example(example.ids[stop - rest : stop], mask[stop - rest :]))
            if row is not None:
                rows.append(row)
        return rows

    def finish(self) -> list[Row]:
        """Returns the rows that are still open and closes the packing."""
        rows = [self._close(0) for _ in range(len(self._open))]
        if self.counts.rows:
            self.counts.fill = self.counts.tokens / (self.counts.rows * self.length)
        return rows

    def _whole_row(
        self, ids: Int32[np.ndarray, " tokens"], mask: Bool[np.ndarray, " tokens"]
    ) -> Row:
        counts = self.counts
        counts.rows += 1
        counts.tokens += self.length
        counts.loss_tokens += int(np.count_nonzero(mask))
        return {
            "tokens": np.asarray(ids, DTYPES["tokens"]),
            "loss_mask": mask,
            "segment_ids": self._ones,
            "positions": self._count,
        }

    def _add_piece(self, piece: Example) -> Row | None:
        size = len(piece.ids)
        # Best fit of an online bin packing: no example waits for later ones, as sorting them by
        # length would demand, and the search over OPEN_ROWS rows is all that it costs.
        fitting = [index for index, space in enumerate(self._space) if space >= size]
        if fitting:
            index = min(fitting, key=self._space.__getitem__)  # the first of equals is the oldest
        else:
            index = len(self._open)
            self._open.append([])
            self._space.append(self.length)
        self._open[index].append(piece)
        self._space[index] -= size
        if self._space[index] == 0:
            return self._close(index)
        if len(self._open) > OPEN_ROWS:
            return self._close(int(np.argmin(self._space)))
        return None

    def _close(self, index: int) -> Row:
        pieces = self._open.pop(index)
        self._space.pop(index)
        row = make_row(pieces, self.length)
        self.counts.rows += 1
        self.counts.tokens += sum(len(piece.ids) for piece in pieces)
        self.counts.loss_tokens += int(row["loss_mask"].sum())
        return row


class PairRows:
    """Makes one padded row of each pair, in their order; the interface is that of `Packer`.

    A row's arrays are [2, length], the chosen answer first. What is longer is cut off at the end.
    A pair is dropped where nothing of an answer is left, or no difference between the two.
    """

    def __init__(self, length: int):
        self.length = check_length(length)
        self.shape = (2, length)
        self.counts = PackingCounts()

    def add(self, pair: Pair) -> list[Row]:
        """Takes a pair; returns its row, unless it is dropped."""
        counts = self.counts
        counts.examples += 1
        whole = (pair.chosen, pair.rejected)
        chosen, rejected = (cut(example, 0, self.length) for example in whole)
        answered = chosen.loss_mask.any() and rejected.loss_mask.any()
        if not answered or np.array_equal(chosen.ids, rejected.ids):
            counts.dropped += 1
            return []
        counts.truncated += any(len(example.ids) > self.length for example in whole)
        counts.rows += 1
        for example in (chosen, rejected):
            counts.tokens += len(example.ids)
            counts.loss_tokens += int(example.loss_mask.sum())
        rows = [make_row([example], self.length) for example in (chosen, rejected)]
        return [{name: np.stack([row[name] for row in rows]) for name in rows[0]}]

    def finish(self) -> list[Row]:
        """Closes the counts; no row is waiting."""
        if self.counts.rows:
            self.counts.fill = self.counts.tokens / (self.counts.rows * 2 * self.length)
        return []


def packer_of(kind: str, length: int) -> Packer | PairRows:
    """What makes rows of the examples of a kind of records."""
    return (
        PairRows(length)
        if kind == "preferences"
        else Packer(length, split_long=kind == "documents")
    )


def check_length(length: int) -> int:
    """Returns the length of a row; raises UserError where nothing could be predicted in it."""
    if length < 2:
        raise UserError(f"length: {length} is too short; a row needs 2 tokens or more")
    return length


def cut(example: Example, start: int, end: int) -> Example:
    """A part of an example as a segment of its own."""
    mask = example.loss_mask[start:end].copy()  # a view: the next line would change the example
    mask[0] = False  # no token of its segment precedes it, so nothing predicts it
    return Example(example.ids[start:end], mask)


def make_row(pieces: Sequence[Example], length: int) -> Row:
    """One row of pieces that fit, each a segment, padded at the end."""
    row = {name: np.zeros(length, dtype) for name, dtype in DTYPES.items()}
    start = 0
    for segment, piece in enumerate(pieces, start=1):
        span = slice(start, start + len(piece.ids))
        row["tokens"][span] = piece.ids
        row["loss_mask"][span] = piece.loss_mask
        row["segment_ids"][span] = segment
        # Each segment counts from 0, so that its rotary angles are those of a text that stands
        # alone.
        row["positions"][span] = np.arange(len(piece.ids))
        start = span.stop
    return row
