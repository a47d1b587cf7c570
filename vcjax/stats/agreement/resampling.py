"""Intervals by the Bayesian bootstrap, with an item that nobody saw.

The items get random weights, uniform on the simplex (Rubin 1981). As in Gaffke's bound
(`vcjax.stats.bounded`), one item that nobody saw gets a weight, too: a disagreement for the lower
bound, an agreement for the upper one. Without it, raters who agree on all of a few items would have
an interval of no width.

Items of one cluster (the answers to one question) are alike: with `clusters` the clusters get the
random weights, and the one that nobody saw is a cluster of the average size.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from vcjax.stats.clusters import numbered
from vcjax.stats.intervals import Interval

_BLOCK = 1024
"""Kinds of items or clusters that are weighted together: the weights of all draws are in memory."""


def beyond_chance(observed: Any, expected: Any) -> np.ndarray:
    """1 - observed / expected disagreement; NaN where none is expected."""
    expected = np.asarray(expected, np.float64)
    return 1 - observed / np.where(expected > 0, expected, np.nan)


def cluster_kinds(
    values: Float[np.ndarray, "items parts"], clusters: Sequence[Hashable]
) -> tuple[Float[np.ndarray, "kinds parts"], Int[np.ndarray, " kinds"]]:
    """The sums of each cluster's values, and how many clusters have each: those with the same sums
    are interchangeable.

    Raises:
      ValueError: not one cluster for each item.
    """
    numbers = numbered(clusters)
    if len(numbers) != len(values):
        raise ValueError(f"{len(values)} items, but {len(numbers)} clusters")
    sums = np.zeros((numbers.max(initial=-1) + 1, values.shape[1]))
    np.add.at(sums, numbers, values)
    return np.unique(sums, axis=0, return_counts=True)


def drawn_sums(
    kinds: Float[np.ndarray, "kinds parts"],
    times: Float[np.ndarray, " kinds"] | Int[np.ndarray, " kinds"],
    seed: int,
    draws: int,
) -> tuple[Float[np.ndarray, "draws parts"], Float[np.ndarray, " draws"]]:
    """The sums over all items or clusters under random weights, and the weight of one that nobody
    saw; together the weights are as many as there are.

    Args:
      times: how many are of each kind.
    """
    rng = np.random.default_rng(seed)
    sums, total = np.zeros((draws, kinds.shape[1])), np.zeros(draws)
    for start in range(0, len(kinds), _BLOCK):
        part = slice(start, start + _BLOCK)
        # Exponential weights, divided by their sum, are uniform on the simplex; those of all that
        # are of a kind have a gamma distribution together.
        weights = rng.gamma(times[part], size=(draws, len(times[part])))
        sums += weights @ kinds[part]
        total += weights.sum(axis=1)
    unseen = rng.exponential(size=draws)
    scale = times.sum() / (total + unseen)
    return sums * scale[:, None], unseen * scale


def bootstrap_interval(
    estimate: Any, lows: np.ndarray, highs: np.ndarray, n: int, confidence: float
) -> Interval:
    """The estimate with its bounds: a quantile of `lows` and one of `highs`."""
    value = float(estimate)
    if np.isnan(value):
        return Interval(None, None, None, n)
    tail = (1 - confidence) / 2
    low, high = float(np.quantile(lows, tail)), float(np.quantile(highs, 1 - tail))
    return Interval(value, min(low, value), max(high, value), n)
