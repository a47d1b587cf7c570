"""Preference pairs -> rows of two: the chosen and the rejected answer, each after the prompt."""

from dataclasses import dataclass

import numpy as np

from vcjax.data.packing import Example, PackingCounts, Row, check_length, cut, make_row


@dataclass(frozen=True, eq=False)
class Pair:
    """Two tokenised answers to the same prompt; only the answers are to be predicted."""

    chosen: Example
    rejected: Example


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
