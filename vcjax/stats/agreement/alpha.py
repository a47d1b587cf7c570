"""Krippendorff's alpha: any number of raters, each of whom may leave items out."""

from collections.abc import Hashable, Sequence
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from vcjax.stats.agreement.resampling import (
    beyond_chance,
    bootstrap_interval,
    cluster_kinds,
    drawn_sums,
)
from vcjax.stats.intervals import Interval

Level = Literal["nominal", "ordinal", "interval"]


def krippendorff_alpha(
    ratings: Float[np.ndarray, "raters items"] | Sequence[Sequence[float]],
    level: Level = "nominal",
) -> float:
    """Krippendorff's alpha (Krippendorff 2004, ch. 11), any number of raters, gaps allowed.

    Args:
      level: `nominal` counts every disagreement alike; `ordinal` by the ratings between the two;
        `interval` by the square of their difference.
      ratings: numbers; NaN where a rater left an item out. Items with fewer than two ratings
        don't count.

    Raises:
      ValueError: not `[raters, items]`, an unknown level, or no item with two ratings.
    """
    counts, values = _value_counts(ratings, level)
    return float(_alpha(_coincidences(counts).sum(axis=0), values, level))


def alpha_interval(
    ratings: Float[np.ndarray, "raters items"] | Sequence[Sequence[float]],
    level: Level = "nominal",
    *,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 9999,
) -> Interval:
    """`krippendorff_alpha` with its interval for other items, or clusters, by the Bayesian
    bootstrap (see `vcjax.stats.agreement.resampling`).

    Args:
      ratings, level: see `krippendorff_alpha`.
      clusters: of each item, also of those with fewer than two ratings.
      seed: of the drawn weights.

    Raises:
      ValueError: see `krippendorff_alpha`; or not one cluster for each item.
    """
    counts, values = _value_counts(ratings, level)
    # Items with the same ratings are interchangeable: few kinds instead of many items per draw.
    kinds, times = np.unique(counts, axis=0, return_counts=True)
    each = _coincidences(kinds)
    whole = np.einsum("k,kab->ab", times, each)
    parts = each.reshape(len(each), -1)
    if clusters is not None:
        rated = (~np.isnan(np.asarray(ratings, np.float64))).sum(axis=0) >= 2
        named = [name for name, counted in zip(clusters, rated, strict=True) if counted]
        parts, times = cluster_kinds(_coincidences(counts).reshape(len(counts), -1), named)
    drawn, unseen = drawn_sums(parts, times, seed, resamples)
    drawn, unseen = drawn.reshape(-1, *whole.shape), unseen[:, None, None]
    # The unseen one has as many ratings as the others have on average: half of them the lowest and
    # half the highest value, or all the same, each value as often as it comes.
    ratings_each = whole.sum() / times.sum()
    disagreement = np.zeros_like(whole)
    disagreement[0, -1] = disagreement[-1, 0] = ratings_each / 2
    agreement = np.diag(whole.sum(axis=0)) * ratings_each / whole.sum()
    lows, highs = (
        _alpha(drawn + unseen * item, values, level) for item in (disagreement, agreement)
    )
    return bootstrap_interval(_alpha(whole, values, level), lows, highs, len(counts), confidence)


def _value_counts(
    ratings: Any, level: Level
) -> tuple[Float[np.ndarray, "items values"], Float[np.ndarray, " values"]]:
    """How often each value was given to each item that has at least two ratings."""
    if level not in get_args(Level):
        raise ValueError(f"level must be one of {', '.join(get_args(Level))}, not {level!r}")
    table = np.asarray(ratings, np.float64)
    if table.ndim != 2:
        raise ValueError("ratings must be [raters, items]")
    table = table[:, (~np.isnan(table)).sum(axis=0) >= 2]
    if not table.size:
        raise ValueError("no item has two ratings")
    values = np.unique(table[~np.isnan(table)])
    return (table[:, :, None] == values).sum(axis=0).astype(np.float64), values


def _coincidences(
    counts: Float[np.ndarray, "items values"],
) -> Float[np.ndarray, "items values values"]:
    """Each item's pairs of values, weighted so that a rating counts once (eq. 8)."""
    pairs = counts[:, :, None] * counts[:, None, :]
    same = np.arange(counts.shape[1])
    pairs[:, same, same] -= counts  # no rating is paired with itself
    return pairs / (counts.sum(axis=1) - 1)[:, None, None]


def _alpha(
    coincidences: Float[np.ndarray, "*resamples values values"],
    values: Float[np.ndarray, " values"],
    level: Level,
) -> Float[np.ndarray, "*resamples"]:
    totals = coincidences.sum(axis=-1)
    n = totals.sum(axis=-1)
    if level == "nominal":
        cost = (values[:, None] != values).astype(np.float64)
    elif level == "interval":
        cost = (values[:, None] - values) ** 2
    else:  # how many ratings are between two values, those of the two counted by half
        middle = np.cumsum(totals, axis=-1) - totals / 2
        cost = (middle[..., :, None] - middle[..., None, :]) ** 2
    # Pairs that chance would make of all ratings; n - 1, as no rating is paired with itself.
    chance = totals[..., :, None] * totals[..., None, :] / (n - 1)[..., None, None]
    return beyond_chance(
        (cost * coincidences).sum(axis=(-2, -1)), (cost * chance).sum(axis=(-2, -1))
    )
