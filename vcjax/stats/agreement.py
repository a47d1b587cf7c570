"""How far raters agree beyond chance: kappa, alpha and intraclass correlation.

Every coefficient is NaN where it is undefined: where chance alone would leave no disagreement.

Intervals are by the Bayesian bootstrap (Rubin 1981): the items get random weights, uniform on the
simplex. As in Gaffke's bound (`vcjax.stats.bounded`), one item that nobody saw gets a weight, too:
a disagreement for the lower bound, an agreement for the upper one. Without it, raters who agree on
all of a few items would have an interval of no width.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from vcjax.stats.intervals import Interval

Weights = Literal["linear", "quadratic"]
Level = Literal["nominal", "ordinal", "interval"]
Form = Literal["1,1", "2,1", "3,1", "1,k", "2,k", "3,k"]
Label = str | int | float | bool


def cohen_kappa(
    a: Sequence[Label],
    b: Sequence[Label],
    weights: Weights | None = None,
    labels: Sequence[Label] | None = None,
) -> float:
    """Cohen's kappa of two raters of the same items (Cohen 1960; weighted: Cohen 1968).

    Args:
      weights: how disagreement grows with the distance of two labels; None counts every
        disagreement alike.
      labels: all labels in their order; by default those that either rater used, sorted. The
        distance of two labels is that of their indices, so a label that nobody used and that isn't
        named here leaves no gap.

    Raises:
      ValueError: not the same number of items, no items, a missing or unknown label, or weights
        for labels that have no order.
    """
    return float(_kappa(_pairs(a, b, weights, labels), weights))


def kappa_interval(
    a: Sequence[Label],
    b: Sequence[Label],
    weights: Weights | None = None,
    labels: Sequence[Label] | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 9999,
) -> Interval:
    """`cohen_kappa` with its interval for other items; see the head of this file."""
    table = _pairs(a, b, weights, labels)
    drawn, unseen = _weights(table.ravel(), seed, resamples)
    tables = drawn.reshape(-1, *table.shape)
    cost = _cost(len(table), weights)
    # On average: of the worst disagreements, and of agreements on the labels as often as they come.
    disagreement = (cost == cost.max()) / np.sum(cost == cost.max())
    agreement = np.diag(table.sum(axis=0) + table.sum(axis=1)) / (2 * table.sum())
    lows, highs = (_kappa(tables + unseen * each, weights) for each in (disagreement, agreement))
    return _interval(_kappa(table, weights), lows, highs, len(a), confidence)


def fleiss_kappa(counts: Int[np.ndarray, "items categories"] | Sequence[Sequence[int]]) -> float:
    """Fleiss' kappa of a fixed number of raters (Fleiss 1971).

    Args:
      counts: how many raters put each item into each category.

    Raises:
      ValueError: not a table of counts, or items with different numbers of raters or fewer than 2.
    """
    table = np.asarray(counts, np.float64)
    if table.ndim != 2 or not table.size or (table < 0).any():
        raise ValueError("counts must be a table of items by categories")
    raters = table.sum(axis=1)
    if raters[0] < 2 or (raters != raters[0]).any():
        raise ValueError("every item needs the same number of raters, at least 2")
    agreed = ((table**2).sum(axis=1) - raters) / (raters * (raters - 1))
    shares = table.sum(axis=0) / table.sum()
    return _beyond_chance(1 - agreed.mean(), 1 - (shares**2).sum()).item()


def krippendorff_alpha(
    ratings: Float[np.ndarray, "raters items"] | Sequence[Sequence[float]],
    level: Level = "nominal",
) -> float:
    """Krippendorff's alpha (Krippendorff 2004, ch. 11), any number of raters, gaps allowed.

    Args:
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
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 9999,
) -> Interval:
    """`krippendorff_alpha` with its interval for other items; see the head of this file."""
    counts, values = _value_counts(ratings, level)
    # Items with the same ratings are interchangeable: few kinds instead of many items per draw.
    kinds, times = np.unique(counts, axis=0, return_counts=True)
    each = _coincidences(kinds)
    weights, unseen = _weights(times, seed, resamples)
    drawn = np.einsum("rk,kab->rab", weights, each)
    whole = np.einsum("k,kab->ab", times, each)
    # The unseen item has as many ratings as the others have on average: half of them the lowest and
    # half the highest value, or all the same, each value as often as it comes.
    ratings_each = whole.sum() / len(counts)
    disagreement = np.zeros_like(whole)
    disagreement[0, -1] = disagreement[-1, 0] = ratings_each / 2
    agreement = np.diag(whole.sum(axis=0)) * ratings_each / whole.sum()
    lows, highs = (
        _alpha(drawn + unseen * item, values, level) for item in (disagreement, agreement)
    )
    return _interval(_alpha(whole, values, level), lows, highs, len(counts), confidence)


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
    k, n = table.shape
    grand, raters, items = table.mean(), table.mean(axis=1), table.mean(axis=0)
    between = k * ((items - grand) ** 2).sum() / (n - 1)
    within = ((table - items) ** 2).sum() / (n * (k - 1))
    rater = n * ((raters - grand) ** 2).sum() / (k - 1)
    error = ((table - items - raters[:, None] + grand) ** 2).sum() / ((n - 1) * (k - 1))
    parts = {
        "1,1": (between - within, between + (k - 1) * within),
        "2,1": (between - error, between + (k - 1) * error + k * (rater - error) / n),
        "3,1": (between - error, between + (k - 1) * error),
        "1,k": (between - within, between),
        "2,k": (between - error, between + (rater - error) / n),
        "3,k": (between - error, between),
    }
    above, below = parts[form]
    return float(above / below) if below else float("nan")


def _pairs(
    a: Sequence[Label],
    b: Sequence[Label],
    weights: Weights | None,
    labels: Sequence[Label] | None,
) -> Float[np.ndarray, "labels labels"]:
    """How many items the first rater gave label i and the second one label j."""
    a, b = list(a), list(b)
    if len(a) != len(b) or not a:
        raise ValueError(f"two raters of the same items, not of {len(a)} and {len(b)}")
    used = set(a) | set(b)
    if any(label is None or label != label for label in used):
        raise ValueError("a label is missing")
    if weights not in (None, *get_args(Weights)):
        raise ValueError(f"weights must be None, 'linear' or 'quadratic', not {weights!r}")
    if labels is None:
        if weights is not None and any(isinstance(label, str) for label in used):
            raise ValueError("weights need labels in their order")
        # Sorted also where the order doesn't count: a resample's draws depend on it.
        labels = sorted(used, key=_order)
    index_of = {label: index for index, label in enumerate(labels)}
    if not used <= index_of.keys():
        raise ValueError(f"unknown labels: {sorted(used - index_of.keys(), key=str)}")
    table = np.zeros((len(index_of), len(index_of)))
    np.add.at(table, ([index_of[label] for label in a], [index_of[label] for label in b]), 1)
    return table


def _order(label: Label) -> tuple[bool, Any]:
    return isinstance(label, str), label


def _kappa(
    tables: Float[np.ndarray, "*resamples labels labels"], weights: Weights | None
) -> Float[np.ndarray, "*resamples"]:
    cost = _cost(tables.shape[-1], weights)
    shares = tables / tables.sum(axis=(-2, -1), keepdims=True)
    chance = shares.sum(axis=-1)[..., :, None] * shares.sum(axis=-2)[..., None, :]
    return _beyond_chance((cost * shares).sum(axis=(-2, -1)), (cost * chance).sum(axis=(-2, -1)))


def _cost(labels: int, weights: Weights | None) -> Float[np.ndarray, "labels labels"]:
    """How much a disagreement counts."""
    indices = np.arange(labels)
    apart = np.abs(indices[:, None] - indices)
    return np.asarray({None: apart > 0, "linear": apart, "quadratic": apart**2}[weights], float)


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
    pairs[:, same, same] -= counts
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
    chance = totals[..., :, None] * totals[..., None, :] / (n - 1)[..., None, None]
    return _beyond_chance(
        (cost * coincidences).sum(axis=(-2, -1)), (cost * chance).sum(axis=(-2, -1))
    )


def _beyond_chance(observed: Any, expected: Any) -> np.ndarray:
    """1 - observed / expected disagreement; NaN where none is expected."""
    expected = np.asarray(expected, np.float64)
    return 1 - observed / np.where(expected > 0, expected, np.nan)


def _weights(
    counts: Float[np.ndarray, " kinds"], seed: int, draws: int
) -> tuple[Float[np.ndarray, "draws kinds"], Float[np.ndarray, "draws 1 1"]]:
    """Random weights of the items of each kind and of one that nobody saw; together they are as
    many as there are items."""
    rng = np.random.default_rng(seed)
    seen = rng.gamma(counts, size=(draws, len(counts)))  # sums of the items' exponential weights
    unseen = rng.exponential(size=(draws, 1))
    scale = counts.sum() / (seen.sum(axis=1, keepdims=True) + unseen)
    return seen * scale, (unseen * scale)[:, :, None]


def _interval(
    estimate: Any, lows: np.ndarray, highs: np.ndarray, n: int, confidence: float
) -> Interval:
    value = float(estimate)
    if np.isnan(value):
        return Interval(None, None, None, n)
    tail = (1 - confidence) / 2
    low, high = float(np.quantile(lows, tail)), float(np.quantile(highs, 1 - tail))
    return Interval(value, min(low, value), max(high, value), n)
