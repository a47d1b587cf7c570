"""Spearman's rank correlation: whether two raters put the items in the same order."""

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float, Int

from vcjax.stats.agreement.resampling import bootstrap_interval, cluster_kinds, drawn_sums
from vcjax.stats.intervals import Interval

Values = Sequence[float] | Float[np.ndarray, " items"]


def spearman(a: Values, b: Values) -> float:
    """Spearman's rho, with the mean rank for equal values; NaN where a rater's are all equal.

    Raises:
      ValueError: not the same number of items, fewer than two, or a missing value.
    """
    kinds, kind_of = _pairs(a, b)
    return float(_correlation(kinds, np.bincount(kind_of).astype(np.float64)[None])[0])


def spearman_interval(
    a: Values,
    b: Values,
    *,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 1999,
) -> Interval:
    """`spearman` with its interval for other items, or clusters of them, by the Bayesian bootstrap
    (see `vcjax.stats.agreement.resampling`).

    Args:
      clusters: of each item; those of one cluster are alike. None makes each its own.
      seed: of the drawn weights.

    Raises:
      ValueError: see `spearman`; or not one cluster for each item.
    """
    kinds, kind_of = _pairs(a, b)
    parts, times = np.eye(len(kinds)), np.bincount(kind_of)
    if clusters is not None:
        parts, times = cluster_kinds(parts[kind_of], clusters)
    weights, unseen = drawn_sums(parts, times, seed, resamples)
    half = unseen[:, None] * (len(kind_of) / times.sum() / 2)
    ends = kinds.min(axis=0), kinds.max(axis=0)
    # The unseen items: the one's lowest is the other's highest, or they are both the same.
    agreement = np.stack(ends)
    disagreement = np.stack([agreement[:, 0], agreement[::-1, 1]], axis=1)
    lows, highs = (
        _correlation(np.vstack([kinds, pair]), np.hstack([weights, half, half]))
        for pair in (disagreement, agreement)
    )
    return bootstrap_interval(spearman(a, b), lows, highs, len(a), confidence)


def _pairs(a: Values, b: Values) -> tuple[Int[np.ndarray, "kinds 2"], Int[np.ndarray, " items"]]:
    """The different pairs of values, each as its index among the rater's values in their order, and
    which pair each item has."""
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"two raters of the same items, at least 2, not of {len(a)} and {len(b)}")
    values = np.asarray([a, b], np.float64)
    if np.isnan(values).any():
        raise ValueError("a value is missing")
    indices = [np.unique(side, return_inverse=True)[1] for side in values]
    kinds, kind_of = np.unique(np.stack(indices, axis=1), axis=0, return_inverse=True)
    return kinds, kind_of.ravel()


def _correlation(
    kinds: Int[np.ndarray, "kinds 2"], weights: Float[np.ndarray, "draws kinds"]
) -> Float[np.ndarray, " draws"]:
    """Correlates the mean ranks of pairs, each of which counts as often as its weight."""
    total = weights.sum(axis=1, keepdims=True)
    centred = []
    for side in kinds.T:
        shares = np.zeros((len(weights), side.max() + 1))
        np.add.at(shares.T, side, weights.T)
        # Equal values share the mean of their ranks: all that is below them, and half of their own
        # weight.
        ranks = np.cumsum(shares, axis=1) - shares / 2
        centred.append(ranks[:, side] - total / 2)  # the mean rank is half of the total
    (x, y) = centred
    spread = np.sqrt((weights * x**2).sum(axis=1) * (weights * y**2).sum(axis=1))
    # A rater whose values are all equal has no ranks; rounding leaves a little of the spread.
    defined = spread > 1e-9 * total[:, 0] ** 3
    rho = (weights * x * y).sum(axis=1) / np.where(defined, spread, 1)
    return np.where(defined, np.clip(rho, -1, 1), np.nan)
