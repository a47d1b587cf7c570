"""Rows of tokens to score, in which sequences have the prefixes that they share once.

A row is a tree in depth-first order, and each sequence a path from its root. So the prompt of many
answers is run once, and one-token continuations of a prompt add nothing to it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
from jaxtyping import Int

MIN_LENGTH = 64
CHUNK = 128
"""Positions whose logits are computed together."""

Sequences = Sequence[tuple[Sequence[int], int]]
"""Token ids, and the index of the first one that is to be scored."""


@dataclass(frozen=True)
class Path:
    """A sequence in a row.

    Attributes:
      index: of the sequence.
      ids: of its tokens that are run, which are all but the last.
      targets: its tokens that are scored, the last ones.
      shared: number of tokens that it has in common with the path before it, which aren't run
        again.
    """

    index: int
    ids: tuple[int, ...]
    targets: tuple[int, ...]
    shared: int


@dataclass
class Row:
    """Paths of one tree.

    Attributes:
      length: that the row is padded to.
      longest: padded length of the longest path alone.
      tokens: number of tokens that are run.
      targets: number of tokens that are scored; at most `length`.
    """

    length: int
    longest: int
    paths: list[Path] = field(default_factory=list)
    tokens: int = 0
    targets: int = 0

    def add(self, path: Path) -> None:
        """Appends a path, for which there is room."""
        self.paths.append(path)
        self.tokens += len(path.ids) - path.shared
        self.targets += len(path.targets)


@dataclass(frozen=True)
class Batch:
    """Rows of one length that are run together, with empty ones up to `count`."""

    rows: tuple[Row, ...]
    count: int

    @property
    def paths(self) -> Iterator[Path]:
        """All paths, in the order of their results."""
        return (path for row in self.rows for path in row.paths)

    def arrays(self) -> tuple[Int[np.ndarray, "..."], ...]:
        """The arguments `tokens` to `count` of `vcjax.generate.scoring.score_batch`."""
        shape = self.count, self.rows[0].length
        tokens, positions = np.zeros((2, *shape), np.int32)
        # Padding attends to itself alone: the softmax of nothing isn't a number.
        ends = np.broadcast_to(np.arange(shape[1], dtype=np.int32), shape).copy()
        room = tokens.size + -tokens.size % min(CHUNK, tokens.size)
        indices, targets = np.zeros((2, room), np.int32)
        done = 0
        for number, row in enumerate(self.rows):
            total, at = 0, np.zeros((0,), np.int32)  # at: where the path's tokens are in the row
            for path in row.paths:
                own = np.arange(total, total + len(path.ids) - path.shared)
                at, total = np.concatenate([at[: path.shared], own]), total + len(own)
                tokens[number, own] = path.ids[path.shared :]
                positions[number, own] = np.arange(path.shared, len(path.ids))
                # The whole path, shared tokens too: the last path that continues one decides.
                ends[number, at] = total - 1
                size = len(path.targets)
                indices[done : done + size] = number * shape[1] + at[len(at) - size :]
                targets[done : done + size] = path.targets
                done += size
        return tokens, positions, ends, indices, targets, np.asarray(done, np.int32)


def shared_rows(sequences: Sequences, max_position: int, token_budget: int) -> list[Row]:
    """The rows to run, the longest first.

    A sequence joins the row of one with which it shares a prefix, as long as a row isn't padded to
    more than twice what its longest path needs: beyond that, attention to what is masked costs more
    than the prefix. It joins any row that has room for it in its padding.
    """
    inputs = [tuple(ids[:-1]) for ids, _ in sequences]
    rows: list[Row] = []
    previous: tuple[int, ...] = ()
    # Sorted, each sequence is beside those with which it shares the longest prefix.
    for index in sorted(range(len(inputs)), key=inputs.__getitem__, reverse=True):
        ids, start = sequences[index]
        shared = _common_prefix(previous, inputs[index])
        path = Path(index, inputs[index], tuple(ids[start:]), shared)
        alone = padded_length(len(path.ids), max_position)
        length = _joint_length(rows[-1], path, alone, max_position) if rows else None
        if length is None or length > max(alone, rows[-1].longest, token_budget):
            rows.append(Row(alone, alone))
            length, path = alone, replace(path, shared=0)
        row = rows[-1]
        row.length, row.longest = length, max(row.longest, alone)
        row.add(path)
        previous = path.ids
    return sorted(rows, key=lambda row: -row.length)


def _joint_length(row: Row, path: Path, alone: int, max_position: int) -> int | None:
    """The padded length of a row with one more path; None where that is better run elsewhere."""
    length = padded_length(row.tokens + len(path.ids) - path.shared, max_position)
    # `Batch.arrays` has room for as many targets as tokens.
    if length > 2 * max(row.longest, alone) or row.targets + len(path.targets) > length:
        return None
    if length == row.length:
        return length
    # A longer row pays where half of the path needn't be run, and two rows aren't shorter.
    is_shorter = 2 * path.shared >= len(path.ids) and length <= row.length + alone
    return length if is_shorter else None


def _common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """The number of tokens that two sequences begin with alike."""
    pairs = zip(one, other, strict=False)
    least = min(len(one), len(other))
    return next((n for n, (a, b) in enumerate(pairs) if a != b), least)


def batches(rows: Sequence[Row], token_budget: int) -> Iterator[Batch]:
    """Batches of rows of one length, as large as the budget of tokens allows."""
    for length, group in groupby(rows, key=lambda row: row.length):
        counts, left = row_counts(length, token_budget), list(group)
        while left:
            # A batch may have more rows than are left, but more than half of them are real.
            count = max(each for each in counts if each < 2 * len(left))
            yield Batch(tuple(left[:count]), count)
            left = left[count:]


def row_counts(length: int, token_budget: int) -> list[int]:
    """Numbers of rows that a batch may have: 1, 4, 16 and so on, and the largest that fits."""
    most = max(1, token_budget // length)
    return [*(4**n for n in range(most.bit_length()) if 4**n < most), most]


def padded_length(length: int, max_position: int) -> int:
    """The length of a row with so many tokens: a power of two, or a multiple of the context."""
    if length > max_position:
        return -(-length // max_position) * max_position
    return min(max(MIN_LENGTH, power_of_two(length)), max_position)


def power_of_two(least: int) -> int:
    """The smallest power of two that is at least `least`."""
    return 1 << (least - 1).bit_length()
