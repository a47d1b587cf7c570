"""How well scores separate the one right member of each block from the others."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from fractions import Fraction

from vcjax.stats.intervals import RATE, Interval, mean_interval

Block = tuple[float, Sequence[float]]
"""The score of the right member and those of the others."""


def separation(
    blocks: Sequence[Block],
    clusters: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The share of pairs in which the right member scores higher, ties by half: the area under the
    ROC curve within blocks, each block counting once (van Elteren 1960).

    `p` is of the hypothesis that any member of a block might as well be the right one, against that
    it scores higher: exact, from the distribution over all ways to choose one of each block.

    Args:
      clusters: of each block, see `vcjax.stats.intervals.mean_interval`, of which the interval is.

    Raises:
      ValueError: a block without others.
    """
    if not all(others for _, others in blocks):
        raise ValueError("a block needs others than its right member")
    values = [_share(right, others) for right, others in blocks]
    floats = [float(value) for value in values]
    interval = mean_interval(floats, clusters, scale=RATE, confidence=confidence, seed=seed)
    if not blocks:
        return interval
    # The sums of all blocks so far, by how likely each is. Fractions: floats that are added in
    # another order differ, so that equal sums would be several keys.
    sums: dict[Fraction, float] = {Fraction(0): 1.0}
    for right, others in blocks:
        members = [right, *others]
        chances = Counter(
            _share(member, [*members[:index], *members[index + 1 :]])
            for index, member in enumerate(members)
        )
        added: dict[Fraction, float] = defaultdict(float)
        for total, chance in sums.items():
            for value, times in chances.items():
                added[total + value] += chance * times / len(members)
        sums = added
    observed = sum(values, Fraction(0))
    p = sum(chance for total, chance in sums.items() if total >= observed)
    return replace(interval, p=min(1.0, p))


def _share(right: float, others: Sequence[float]) -> Fraction:
    wins = sum(2 if right > other else right == other for other in others)
    return Fraction(wins, 2 * len(others))
