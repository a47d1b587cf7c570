"""Batches as a pure function of (seed, step): Grain shuffles, mixes and batches by index."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vcjax.core.errors import UserError
from vcjax.core.seeds import derive_seed
from vcjax.data.packing import Row
from vcjax.data.prepared import Prepared

Batch = dict[str, np.ndarray]
"""`tokens, loss_mask, segment_ids, positions`, each [batch, length], for preferences
[batch, 2, length]; and what else the rows carry, batched alike."""

PREFETCHED = 2  # batches made ahead of the step that trains


class Batches:
    """Batches without end from one prepared dataset or a weighted mixture.

    Each part is shuffled anew in each of its epochs and repeated for ever; rows are taken from the
    parts in proportion to their weights, evenly interleaved. Nothing is remembered between
    batches, so a run that resumes at a step has the batches that it would have had. Which rows a
    batch has doesn't depend on how many hosts read it, each its own.
    """

    def __init__(
        self,
        parts: Sequence[tuple[Prepared, float]],
        batch_size: int,
        seed: int,
        rows: Sequence[int] | None = None,
    ):
        """Builds the mixture; reads no row.

        Args:
          rows: those of each batch that are read, as indices in it (see
            `vcjax.train.layout.local_rows`); the others are no part of what is returned. None is
            all of them.

        Raises:
          UserError: no part, lengths or tokenizers that differ, preferences with anything else, an
            empty part, a weight or batch size that isn't positive.
        """
        import grain

        _check(parts, batch_size)
        shuffled = [
            grain.MapDataset.source(part).shuffle(seed=derive_seed(seed, "shuffle", i)).repeat()
            for i, (part, _) in enumerate(parts)
        ]
        weights = [float(weight) for _, weight in parts]
        mixed: Any = grain.MapDataset.mix(shuffled, weights=weights)
        wanted = range(batch_size) if rows is None else rows
        self._dataset: Any = grain.MapDataset.source(_Steps(mixed, batch_size, wanted))

    def batch(self, step: int) -> Batch:
        """Batch of `step` (from 0), or the rows of it that are wanted.

        Returns:
          `tokens`, `loss_mask`, `segment_ids` and `positions`, each `[batch, length]`; those of
          preferences are `[batch, 2, length]`, the chosen answer first.

        Raises:
          ValueError: a step below 0.
        """
        if step < 0:
            raise ValueError(f"step {step} is negative")
        return self._dataset[step]

    def prefetch(self, start_step: int = 0) -> Iterator[tuple[int, Batch]]:
        """Yields (step, batch) from `start_step` on; a background thread makes the next ones."""
        import grain

        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=PREFETCHED)
        ahead = iter(self._dataset[start_step:].to_iter_dataset(options))
        try:
            yield from enumerate(ahead, start=start_step)
        finally:
            ahead.close()


@dataclass(frozen=True)
class _Steps(Sequence[Batch]):
    """The batches of a mixture, by step; each reads the rows that are wanted, and no other."""

    mixed: Any
    batch_size: int
    wanted: Sequence[int]

    def __len__(self) -> int:
        return len(self.mixed) // self.batch_size

    def __getitem__(self, step: Any) -> Any:
        # A row is found by its number in the endless mixture. Were an iterator advanced instead, a
        # run that resumes at step n would have to draw n batches first, or to store the iterator's
        # state.
        return stacked([self.mixed[step * self.batch_size + index] for index in self.wanted])


def in_order(
    rows: Prepared, batch_size: int, wanted: Sequence[int] | None = None
) -> Iterator[tuple[int, Batch]]:
    """Yields (rows in it, batch), each row once, in their order.

    The last batch is filled up with rows of padding, in which nothing is predicted.

    Args:
      wanted: see `Batches`.
    """
    indices = range(batch_size) if wanted is None else wanted
    for first in range(0, len(rows), batch_size):
        count = min(batch_size, len(rows) - first)
        found = [rows[first + index] for index in indices if index < count]
        # A host may have no row of the last batch; what is padded has the shape of any row.
        padding = {name: np.zeros_like(value) for name, value in (found or [rows[0]])[0].items()}
        yield count, stacked(found + [padding] * (len(indices) - len(found)))


def stacked(rows: Sequence[Row]) -> Batch:
    """A batch of rows, in their order."""
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _check(parts: Sequence[tuple[Prepared, float]], batch_size: int) -> None:
    if batch_size < 1:
        raise UserError(f"batch_size: {batch_size} must be 1 or more")
    if not parts:
        raise UserError("no prepared dataset to train on")
    for part, weight in parts:
        if not (math.isfinite(weight) and weight > 0):
            raise UserError(f"weight: {weight} must be a positive number")
        if not len(part):
            raise UserError("a prepared dataset has no rows; prepare it again")
    lengths = sorted({part.length for part, _ in parts})
    if len(lengths) > 1:
        named = " and ".join(str(length) for length in lengths)
        raise UserError(f"prepared datasets have rows of {named} tokens; prepare them alike")
    kinds = {part.summary["kind"] for part, _ in parts}
    if len(kinds) > 1 and "preferences" in kinds:
        raise UserError(
            f"{' and '.join(sorted(kinds))} can't be in one batch; train on one of them"
        )
    if len({part.summary["tokenizer"] for part, _ in parts}) > 1:
        raise UserError("prepared datasets are of different tokenizers; prepare them with the same")
