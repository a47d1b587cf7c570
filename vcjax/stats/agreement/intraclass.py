"""Intraclass correlation: how much of the variance of ratings is that of the items."""

from collections.abc import Hashable, Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from vcjax.stats.agreement.resampling import bootstrap_interval, cluster_kinds, drawn_sums
from vcjax.stats.intervals import Interval

Form = Literal["1,1", "2,1", "3,1", "1,k", "2,k", "3,k"]


def icc(
    ratings: Float[np.ndarray, "raters items"] | Sequence[Sequence[float]], form: Form = "2,1"
) -> float:
    """The intraclass correlation (Shrout & Fleiss 1979, table 4).

    Args:
      ratings: every rater's rating of every item.
      form: `1` raters drawn anew for each item, `2` raters drawn at random (absolute agreement),
        `3` these raters and no others (consistency); `,1` the reliability of a single rating,
        `,k` that of the mean of all raters.

    Raises:
      ValueError: an unknown form, fewer than 2 raters or items, or a missing rating.
    """
    if form not in get_args(Form):
        raise ValueError(f"form must be one of {', '.join(get_args(Form))}, not {form!r}")
    table = np.asarray(ratings, np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError("ratings must be [raters, items], at least 2 by 2")
    if not np.isfinite(table).all():
        raise ValueError("icc: a rating is missing")
    # The coefficient doesn't change with the origin, and sums of squares lose digits far from it.
    return float(_icc(_sums(table - table.mean()).sum(axis=0), len(table), form))


def icc_interval(
    ratings: Float[np.ndarray, "raters items"] | Sequence[Sequence[float]],
    form: Form = "2,1",
    *,
    scale: tuple[float, float] | None = None,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 9999,
) -> Interval:
    """`icc` with its interval for other items, or clusters, and the same raters, by the Bayesian
    bootstrap (see `vcjax.stats.agreement.resampling`).

    Args:
      ratings, form: see `icc`.
      scale: the least and the greatest rating that is possible, which raters of the unseen item
        give in turn where they disagree; by default those that were given.
      clusters: of each item; those of one cluster are alike. None makes each its own.
      seed: of the drawn weights.

    Raises:
      ValueError: see `icc`; or not one cluster for each item.
    """
    value = icc(ratings, form)
    table = np.asarray(ratings, np.float64)
    raters, n = table.shape
    middle = table.mean()
    values = table - middle
    ends = np.asarray(scale or (table.min(), table.max())) - middle
    kinds, times = cluster_kinds(_sums(values), range(n) if clusters is None else clusters)
    drawn, unseen = drawn_sums(kinds, times, seed, resamples)
    # Half of the raters at either end, whoever they are; or all alike, as often as values come.
    apart = np.resize(ends, raters)
    disagreement = _sums(np.stack([np.roll(apart, shift) for shift in range(raters)])).mean(axis=0)
    agreement = _sums(np.tile(values.ravel(), (raters, 1))).mean(axis=0)
    size = n / times.sum()
    lows, highs = (
        _icc(drawn + unseen[:, None] * size * each, raters, form)
        for each in (disagreement, agreement)
    )
    return bootstrap_interval(value, lows, highs, n, confidence)


def _sums(values: Float[np.ndarray, "raters items"]) -> Float[np.ndarray, "items parts"]:
    """What `_icc` needs of each item; of several it is the sum: 1, the ratings, their products."""
    raters, n = values.shape
    products = np.einsum("an,bn->nab", values, values).reshape(n, raters * raters)
    return np.hstack([np.ones((n, 1)), values.T, products])


def _icc(
    sums: Float[np.ndarray, "*resamples parts"], k: int, form: Form
) -> Float[np.ndarray, "*resamples"]:
    """Shrout and Fleiss' coefficients of k raters; NaN where a form is undefined."""
    n, ratings, products = sums[..., 0], sums[..., 1 : k + 1], sums[..., k + 1 :]
    squares = products[..., :: k + 1].sum(axis=-1)  # the diagonal of k by k products
    of_items = products.sum(axis=-1) / k
    level = ratings.sum(axis=-1) ** 2 / (n * k)
    of_raters = (ratings**2).sum(axis=-1) / n
    # Mean squares of the analysis of variance: between items, within items, between raters, and
    # what neither items nor raters explain.
    between = (of_items - level) / (n - 1)
    within = (squares - of_items) / (n * (k - 1))
    rater = (of_raters - level) / (k - 1)
    error = (squares - of_items - of_raters + level) / ((n - 1) * (k - 1))
    above, below = {
        "1,1": (between - within, between + (k - 1) * within),
        "2,1": (between - error, between + (k - 1) * error + k * (rater - error) / n),
        "3,1": (between - error, between + (k - 1) * error),
        "1,k": (between - within, between),
        "2,k": (between - error, between + (rater - error) / n),
        "3,k": (between - error, between),
    }[form]
    return above / np.where(below == 0, np.nan, below)
