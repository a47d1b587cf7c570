"""How far raters agree beyond chance: kappa, alpha and intraclass correlation.

Every coefficient is NaN where it is undefined: where chance alone would leave no disagreement.

Intervals are by the Bayesian bootstrap (Rubin 1981): the items get random weights, uniform on the
simplex. As in Gaffke's bound (`vcjax.stats.bounded`), one item that nobody saw gets a weight, too:
a disagreement for the lower bound, an agreement for the upper one. Without it, raters who agree on
all of a few items would have an interval of no width.

Items of one cluster (the answers to one question) are alike: with `clusters` the clusters get the
random weights, and the one that nobody saw is a cluster of the average size.
"""

from collections.abc import Hashable, Sequence
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from vcjax.stats.intervals import Interval

Weights = Literal["linear", "quadratic"]
Level = Literal["nominal", "ordinal", "interval"]
Form = Literal["1,1", "2,1", "3,1", "1,k", "2,k", "3,k"]
Label = str | int | float | bool

_BLOCK = 1024
"""Kinds of items or clusters that are weighted together: the weights of all draws are in memory."""


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
    return float(_kappa(_table(*_pairs(a, b, weights, labels)), weights))


def kappa_interval(
    a: Sequence[Label],
    b: Sequence[Label],
    weights: Weights | None = None,
    labels: Sequence[Label] | None = None,
    *,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 9999,
) -> Interval:
    """`cohen_kappa` with its interval for other items, or clusters; see the head of this file."""
    cells, count = _pairs(a, b, weights, labels)
    table = _table(cells, count)
    kinds, times = np.eye(table.size), table.ravel()
    if clusters is not None:
        kinds, times = _kinds(np.eye(table.size)[cells], clusters)
    drawn, unseen = _drawn(kinds, times, seed, resamples)
    tables, unseen = drawn.reshape(-1, *table.shape), unseen[:, None, None]
    cost = _cost(count, weights)
    # On average: of the worst disagreements, and of agreements on the labels as often as they come.
    disagreement = (cost == cost.max()) / np.sum(cost == cost.max())
    agreement = np.diag(table.sum(axis=0) + table.sum(axis=1)) / (2 * table.sum())
    size = len(cells) / times.sum()
    lows, highs = (
        _kappa(tables + unseen * size * each, weights) for each in (disagreement, agreement)
    )
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
    drawn, unseen = _drawn(each.reshape(len(each), -1), times, seed, resamples)
    drawn, unseen = drawn.reshape(-1, *each.shape[1:]), unseen[:, None, None]
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
    """`icc` with its interval for other items, or clusters, and the same raters; see the head of
    this file.

    Args:
      scale: the least and the greatest rating that is possible, which raters of the unseen item
        give in turn where they disagree; by default those that were given.
    """
    value = icc(ratings, form)
    table = np.asarray(ratings, np.float64)
    raters, n = table.shape
    middle = table.mean()
    values = table - middle
    ends = np.asarray(scale or (table.min(), table.max())) - middle
    kinds, times = _kinds(_sums(values), range(n) if clusters is None else clusters)
    drawn, unseen = _drawn(kinds, times, seed, resamples)
    # Half of the raters at either end, whoever they are; or all alike, as often as values come.
    apart = np.resize(ends, raters)
    disagreement = _sums(np.stack([np.roll(apart, shift) for shift in range(raters)])).mean(axis=0)
    agreement = _sums(np.tile(values.ravel(), (raters, 1))).mean(axis=0)
    size = n / times.sum()
    lows, highs = (
        _icc(drawn + unseen[:, None] * size * each, raters, form)
        for each in (disagreement, agreement)
    )
    return _interval(value, lows, highs, n, confidence)


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
    squares = products[..., :: k + 1].sum(axis=-1)
    of_items = products.sum(axis=-1) / k
    level = ratings.sum(axis=-1) ** 2 / (n * k)
    of_raters = (ratings**2).sum(axis=-1) / n
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


def _pairs(
    a: Sequence[Label],
    b: Sequence[Label],
    weights: Weights | None,
    labels: Sequence[Label] | None,
) -> tuple[Int[np.ndarray, " items"], int]:
    """Each item's cell in the table of both raters' labels, row by row; and how many labels."""
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
    rows = np.array([[index_of[label] for label in each] for each in (a, b)])
    return rows[0] * len(index_of) + rows[1], len(index_of)


def _table(cells: Int[np.ndarray, " items"], labels: int) -> Float[np.ndarray, "labels labels"]:
    """How many items the first rater gave label i and the second one label j."""
    counts = np.bincount(cells, minlength=labels * labels)
    return counts.reshape(labels, labels).astype(np.float64)


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


def _kinds(
    values: Float[np.ndarray, "items parts"], clusters: Sequence[Hashable]
) -> tuple[Float[np.ndarray, "kinds parts"], Int[np.ndarray, " kinds"]]:
    """The sums of each cluster's values, and how many clusters have each: those with the same sums
    are interchangeable.

    Raises:
      ValueError: not one cluster for each item.
    """
    number_of: dict[Hashable, int] = {}
    numbers = np.array([number_of.setdefault(name, len(number_of)) for name in clusters], int)
    if len(numbers) != len(values):
        raise ValueError(f"{len(values)} items, but {len(numbers)} clusters")
    sums = np.zeros((len(number_of), values.shape[1]))
    np.add.at(sums, numbers, values)
    return np.unique(sums, axis=0, return_counts=True)


def _drawn(
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
        # Sums of the exponential weights of all that are of a kind.
        weights = rng.gamma(times[part], size=(draws, len(times[part])))
        sums += weights @ kinds[part]
        total += weights.sum(axis=1)
    unseen = rng.exponential(size=draws)
    scale = times.sum() / (total + unseen)
    return sums * scale[:, None], unseen * scale


def _interval(
    estimate: Any, lows: np.ndarray, highs: np.ndarray, n: int, confidence: float
) -> Interval:
    value = float(estimate)
    if np.isnan(value):
        return Interval(None, None, None, n)
    tail = (1 - confidence) / 2
    low, high = float(np.quantile(lows, tail)), float(np.quantile(highs, 1 - tail))
    return Interval(value, min(low, value), max(high, value), n)
