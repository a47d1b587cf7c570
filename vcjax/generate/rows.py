"""How sequences are laid out to be scored: rows of power-of-two lengths, several rows a call.

The number of shapes is bounded and known. A sequence whose tokens begin another's row is read from
that row: of many one-token continuations of one context, one row is run.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

SMALLEST_ROW = 64
CHUNK = 128
"""Places whose scores over the vocabulary are computed together."""

Sequences = Sequence[tuple[Sequence[int], int]]
"""Token ids, and the index from which on they are to be scored."""


@dataclass
class Row:
    """Ids to feed, and the sequences that are read from them.

    Attributes:
      length: that the ids are padded to.
      members: indices of the sequences.
      places: how many tokens of the sequences are scored; at most `length`.
    """

    ids: tuple[int, ...]
    length: int
    members: list[int]
    places: int


@dataclass(frozen=True)
class Call:
    """Rows of one length that are run together, with empty ones up to `count`."""

    rows: tuple[Row, ...]
    count: int

    def arrays(self, sequences: Sequences) -> tuple[np.ndarray, ...]:
        """What a device needs: the tokens [count, length] and lengths of the rows; then, for each
        scored token, the place before it, counted through all rows, and its id; and how many."""
        length = self.rows[0].length
        tokens = np.zeros((self.count, length), np.int32)
        lengths = np.zeros((self.count,), np.int32)
        room = tokens.size + -tokens.size % min(CHUNK, tokens.size)
        places, targets = np.zeros((2, room), np.int32)
        done = 0
        for number, row in enumerate(self.rows):
            tokens[number, : len(row.ids)] = row.ids
            lengths[number] = len(row.ids)
            for member in row.members:
                ids, start = sequences[member]
                size = len(ids) - start
                first = number * length + start - 1
                places[done : done + size] = np.arange(first, first + size)
                targets[done : done + size] = ids[start:]
                done += size
        return tokens, lengths, places, targets, np.asarray(done, np.int32)


def shared_rows(sequences: Sequences, max_position: int) -> list[Row]:
    """The rows to run, the longest first, each with the sequences whose inputs begin it."""
    inputs = [tuple(ids[:-1]) for ids, _ in sequences]
    rows: list[Row] = []
    # In this order a beginning comes right after what it begins.
    for index in sorted(range(len(inputs)), key=inputs.__getitem__, reverse=True):
        ids, places = inputs[index], len(sequences[index][0]) - sequences[index][1]
        last = rows[-1] if rows else None
        if last is not None and last.places + places <= last.length and last.ids[: len(ids)] == ids:
            last.members.append(index)
            last.places += places
        else:
            rows.append(Row(ids, _bucket(len(ids), max_position), [index], places))
    return sorted(rows, key=lambda row: -row.length)


def calls(rows: Sequence[Row], token_budget: int) -> Iterator[Call]:
    """The rows of each length, so many a call as the budget of tokens allows."""
    for length, group in groupby(rows, key=lambda row: row.length):
        counts, left = _row_counts(length, token_budget), list(group)
        while left:
            # A call may have more rows than are left, but more than half of them are real.
            count = max(each for each in counts if each < 2 * len(left))
            yield Call(tuple(left[:count]), count)
            left = left[count:]


def shapes(max_position: int, token_budget: int) -> list[tuple[int, int]]:
    """Every (rows, length) that `calls` may give."""
    powers = (2**n for n in range((max_position - 1).bit_length() + 1))
    lengths = sorted({_bucket(power, max_position) for power in powers})
    return [(count, length) for length in lengths for count in _row_counts(length, token_budget)]


def _row_counts(length: int, token_budget: int) -> list[int]:
    """How many rows of a length a call may have: 1, 4, 16 and so on, at last what fits."""
    most = max(1, token_budget // length)
    return [*(4**n for n in range(most.bit_length()) if 4**n < most), most]


def _bucket(length: int, max_position: int) -> int:
    return min(max(SMALLEST_ROW, power_of_two(length)), max_position)


def power_of_two(least: int) -> int:
    """The smallest power of two that is at least `least`."""
    return 1 << (least - 1).bit_length()
