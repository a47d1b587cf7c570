"""Kappa: agreement on labels beyond chance, of two raters (Cohen) and of many (Fleiss)."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import scipy.stats
from jaxtyping import Float, Int

from vcjax.stats.agreement.resampling import (
    beyond_chance,
    bootstrap_interval,
    cluster_kinds,
    drawn_sums,
)
from vcjax.stats.intervals import Interval

Weights = Literal["linear", "quadratic"]
Label = str | int | float | bool
Counts = Int[np.ndarray, "items categories"] | Sequence[Sequence[int]]


@dataclass(frozen=True)
class KappaTest:
    """Kappa with the normal approximation of large samples, as statistics packages print it.

    For the few items of a benchmark `kappa_interval` is the better interval.

    Attributes:
      kappa: the coefficient.
      error: its asymptotic standard error; None where none is known.
      z, p: of the hypothesis that the raters agree by chance alone, two-sided.
    """

    kappa: float
    error: float | None
    z: float
    p: float

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Wald's bounds.

        Raises:
          ValueError: there is no standard error.
        """
        if self.error is None:
            raise ValueError("no standard error is known")
        half = float(scipy.stats.norm.ppf((1 + confidence) / 2)) * self.error
        return self.kappa - half, self.kappa + half


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
    """`cohen_kappa` with its interval for other items, or clusters, by the Bayesian bootstrap (see
    `vcjax.stats.agreement.resampling`).

    Args:
      weights, labels: see `cohen_kappa`.
      clusters: of each item; those of one cluster are alike. None makes each its own.
      seed: of the drawn weights.

    Raises:
      ValueError: see `cohen_kappa`; or not one cluster for each item.
    """
    cells, count = _pairs(a, b, weights, labels)
    table = _table(cells, count)
    kinds, times = np.eye(table.size), table.ravel()
    if clusters is not None:
        kinds, times = cluster_kinds(np.eye(table.size)[cells], clusters)
    drawn, unseen = drawn_sums(kinds, times, seed, resamples)
    tables, unseen = drawn.reshape(-1, *table.shape), unseen[:, None, None]
    cost = _cost(count, weights)
    # On average: of the worst disagreements, and of agreements on the labels as often as they come.
    disagreement = (cost == cost.max()) / np.sum(cost == cost.max())
    agreement = np.diag(table.sum(axis=0) + table.sum(axis=1)) / (2 * table.sum())
    size = len(cells) / times.sum()
    lows, highs = (
        _kappa(tables + unseen * size * each, weights) for each in (disagreement, agreement)
    )
    return bootstrap_interval(_kappa(table, weights), lows, highs, len(a), confidence)


def cohen_test(
    a: Sequence[Label],
    b: Sequence[Label],
    weights: Weights | None = None,
    labels: Sequence[Label] | None = None,
) -> KappaTest:
    """`cohen_kappa` with its asymptotic standard error (Fleiss, Cohen & Everitt 1969, eq. 8 and 9).

    All of it is NaN where kappa is.

    Raises:
      ValueError: see `cohen_kappa`.
    """
    table = _table(*_pairs(a, b, weights, labels))
    kappa, n = float(_kappa(table, weights)), table.sum()
    if math.isnan(kappa):
        return KappaTest(kappa, kappa, kappa, kappa)
    shares = table / n
    first, second = shares.sum(axis=1), shares.sum(axis=0)
    cost = _cost(len(table), weights)
    credit = 1 - cost / cost.max()  # the paper's weights, which are of agreement
    by_chance = first @ credit @ second
    mean_credit = (credit @ second)[:, None] + first @ credit
    error = _root(
        (shares * (credit - mean_credit * (1 - kappa)) ** 2).sum()
        - (kappa - by_chance * (1 - kappa)) ** 2
    )
    error_by_chance = _root(
        (np.outer(first, second) * (credit - mean_credit) ** 2).sum() - by_chance**2
    )
    scale = (1 - by_chance) * math.sqrt(n)
    return _tested(kappa, float(error / scale), float(error_by_chance / scale))


def fleiss_kappa(counts: Counts) -> float:
    """Fleiss' kappa of a fixed number of raters (Fleiss 1971).

    Args:
      counts: how many raters put each item into each category.

    Raises:
      ValueError: not a table of counts, or items with different numbers of raters or fewer than 2.
    """
    return fleiss_test(counts).kappa


def fleiss_test(counts: Counts) -> KappaTest:
    """`fleiss_kappa` with the test that there is no agreement beyond chance (Fleiss, Nee & Landis
    1979, eq. 12). Its standard error is that of chance alone, so that there is no interval.

    Raises:
      ValueError: see `fleiss_kappa`.
    """
    table = _counts(counts)
    n, raters = len(table), table[0].sum()
    shares = table.sum(axis=0) / table.sum()
    kappa = beyond_chance(1 - item_agreement(counts).mean(), 1 - (shares**2).sum()).item()
    if math.isnan(kappa):
        return KappaTest(kappa, None, kappa, kappa)
    spread = shares * (1 - shares)
    skew = (spread * (1 - 2 * shares)).sum()
    # Under chance alone, with the shares of the categories as they were observed.
    variance = 2 * (spread.sum() ** 2 - skew) / (spread.sum() ** 2 * n * raters * (raters - 1))
    return _tested(kappa, None, float(np.sqrt(variance)))


def item_agreement(counts: Counts) -> Float[np.ndarray, " items"]:
    """Of each item, the share of the pairs of raters that agree (Fleiss 1971, eq. 2).

    Raises:
      ValueError: see `fleiss_kappa`.
    """
    table = _counts(counts)
    raters = table.sum(axis=1)
    return ((table**2).sum(axis=1) - raters) / (raters * (raters - 1))


def _counts(counts: Counts) -> Float[np.ndarray, "items categories"]:
    table = np.asarray(counts, np.float64)
    if table.ndim != 2 or not table.size or (table < 0).any():
        raise ValueError("counts must be a table of items by categories")
    raters = table.sum(axis=1)
    if raters[0] < 2 or (raters != raters[0]).any():
        raise ValueError("every item needs the same number of raters, at least 2")
    return table


def _root(variance: float) -> float:
    """The square root of what is 0 or more but for rounding: a rater who gives one label only."""
    return 0.0 if variance < 1e-12 else math.sqrt(variance)


def _tested(kappa: float, error: float | None, error_by_chance: float) -> KappaTest:
    z = kappa / error_by_chance if error_by_chance else math.nan
    return KappaTest(kappa, error, z, float(2 * scipy.stats.norm.sf(abs(z))))


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
    return beyond_chance((cost * shares).sum(axis=(-2, -1)), (cost * chance).sum(axis=(-2, -1)))


def _cost(labels: int, weights: Weights | None) -> Float[np.ndarray, "labels labels"]:
    """How much a disagreement counts."""
    indices = np.arange(labels)
    apart = np.abs(indices[:, None] - indices)
    return np.asarray({None: apart > 0, "linear": apart, "quadratic": apart**2}[weights], float)
