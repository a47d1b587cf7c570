"""Means, rates and differences with their confidence intervals: numbers, records and text."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float

from vcjax.stats.bounded import BoundedMean
from vcjax.stats.clusters import (
    Variance,
    cluster_numbers,
    clustered_variance,
    effective_size,
)
from vcjax.stats.paired import discordant, mcnemar_exact, tango_interval

Values = Sequence[float] | Float[np.ndarray, " items"] | Bool[np.ndarray, " items"]
Clusters = Sequence[Hashable]
Scale = tuple[float, float]
RATE: Scale = (0.0, 1.0)
"""The scale of values that are 0 or 1, or means of such."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval.

    Attributes:
      value: the mean, rate, difference or coefficient; None where it is undefined.
      low, high: the bounds; None where there are too few values for any.
      n: number of values.
      p: the p-value of a difference: that there is none. Not corrected for other comparisons. None
        where nothing was tested.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    p: float | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any] | None, key: str = "value") -> "Interval":
        """Reads `{<key>, low, high, n, p?}`; a missing record gives an empty interval.

        NaN, which other tools write where nothing was measured, is read as None.
        """
        if record is None:
            return cls()
        value, low, high, p = (
            None if number is None or math.isnan(number) else number
            for number in (record[key], record["low"], record["high"], record.get("p"))
        )
        return cls(value, low, high, record["n"], p)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The lower and the upper bound; None where there is no interval."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def text(self, show: Callable[[float], str], pattern: str = "{} [{}, {}]") -> str:
        """The interval for a reader: the value and its bounds, as `show` writes a number.

        Without bounds it is the value alone; an undefined value is a dash.

        Args:
          pattern: takes the value, the lower and the upper bound.
        """
        if self.value is None:
            return "–"
        if self.bounds is None:
            return show(self.value)
        return pattern.format(show(self.value), *map(show, self.bounds))

    def __format__(self, specification: str) -> str:
        """Formats each number by the specification: `{interval:.0%}` is `50% [40%, 60%]`."""
        return self.text(lambda number: format(number, specification))


def mean_interval(
    values: Values,
    clusters: Clusters | None = None,
    *,
    scale: Scale | None = None,
    null: float | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The mean with a confidence interval that is meant for small samples.

    With a `scale` the interval is Gaffke's (see `vcjax.stats.bounded`): it never has width zero,
    and of values that are 0 or 1 it is Clopper and Pearson's. Without one it is Student's, which
    needs at least two different values and covers too seldom where rare values are far away.

    Items of one cluster (the questions on one topic, the translations of one question) are alike,
    so that they count for less than their number: with `clusters` the effective number of values
    is used (see `vcjax.stats.clusters`). Fewer than two values or clusters give no interval.

    Args:
      clusters: the cluster of each value; None makes each value its own cluster.
      scale: the least and the greatest value that is possible.
      null: the mean that is tested; the result's `p` is None without it.
      seed: of the draws for values that aren't all at an end of the scale.

    Raises:
      ValueError: a value outside `scale`, or not one cluster for each value.
    """
    return crossed_mean(
        np.asarray(values, np.float64).reshape(1, -1),
        clusters,
        scale=scale,
        null=null,
        confidence=confidence,
        seed=seed,
    )


def crossed_mean(
    values: Float[np.ndarray, "runs items"],
    clusters: Clusters | None = None,
    *,
    scale: Scale | None = None,
    null: float | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The mean of values that each of several runs has for each of the same items.

    With two or more runs the variance is that between the means of runs plus that between the means
    of items or clusters, which errs towards wide (Owen, "The pigeonhole bootstrap", 2007), with
    Satterthwaite's degrees of freedom: the interval covers other items *and* other seeds, and with
    two or three runs that differ it is as wide as so few runs deserve. With one run it is
    `mean_interval` over the items, which doesn't cover other seeds.

    For a paired difference pass the differences, the scale of a difference, and `null=0.0`.

    Args:
      clusters, scale, null, seed: see `mean_interval`; `clusters` has one of each item.

    Raises:
      ValueError: see `mean_interval`.
    """
    items = values.mean(axis=0)
    n = items.size
    numbers = cluster_numbers(clusters, n)
    if not n:
        return Interval()
    mean = float(values.mean())
    if len(set(numbers.tolist())) < 2:
        return Interval(mean, None, None, n)
    spread = clustered_variance(items, numbers)
    if len(values) > 1:
        spread += Variance.of_mean(values.mean(axis=1))
    if scale is None:
        return _student(mean, spread, null, confidence, n)
    size = float(n)
    if len(values) > 1 or numbers.max() + 1 < n:
        size = effective_size(items, numbers, spread, confidence)
    bound = BoundedMean.of(items, scale, size, seed)
    low, high = bound.interval(confidence)
    p = None if null is None else bound.p_value(null)
    # Bounds are quantiles of drawn means, and may by chance leave the estimate out.
    return Interval(mean, min(low, mean), max(high, mean), n, p)


def rate_interval(k: int, n: int, confidence: float = 0.95) -> Interval:
    """The rate k / n with the exact interval of Clopper and Pearson (1934), from SciPy.

    It covers at least as often as it claims at every rate and every n; Wilson's shorter interval
    covers 84 % at rates near 0 or 1, whatever n is.
    """
    if n == 0:
        return Interval(None, None, None, 0)
    bounds = scipy.stats.binomtest(k, n).proportion_ci(confidence, method="exact")
    return Interval(k / n, float(bounds.low), float(bounds.high), n)


def paired_difference(
    before: Values,
    after: Values,
    clusters: Clusters | None = None,
    *,
    scale: Scale | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The mean of `after - before`, item by item, with its interval and the p-value of no change.

    Of booleans it is a difference of rates: Tango's score interval with the p-value of McNemar's
    exact test. Everything else, and rates in clusters, is `mean_interval` of the differences.

    Args:
      scale: the least and the greatest value of a single side; of booleans it is known.
      clusters, seed: see `mean_interval`.

    Raises:
      ValueError: not the same number of values; see also `mean_interval`.
    """
    first, second = np.asarray(before), np.asarray(after)
    if first.shape != second.shape:
        raise ValueError(f"{first.size} values before, but {second.size} after")
    rates = bool(first.size) and first.dtype == second.dtype == np.bool_
    if rates and (clusters is None or len(set(clusters)) == len(first)):
        (gained, lost), n = discordant(first, second), len(first)
        bounds = tango_interval(gained, lost, n, confidence)
        return Interval(float(gained - lost) / n, *bounds, n, mcnemar_exact(first, second))
    low, high = (0.0, 1.0) if rates else scale or (0.0, 0.0)
    return mean_interval(
        second.astype(np.float64) - first.astype(np.float64),
        clusters,
        scale=(low - high, high - low) if rates or scale else None,
        null=0.0,
        confidence=confidence,
        seed=seed,
    )


def _student(
    mean: float, variance: Variance, null: float | None, confidence: float, n: int
) -> Interval:
    if variance.value == 0:  # equal values: how far others may be isn't known without a scale
        return Interval(mean, None, None, n)
    error = math.sqrt(variance.value)
    half = variance.quantile(confidence) * error
    p = None
    if null is not None:
        p = float(2 * scipy.stats.t.sf(abs(mean - null) / error, variance.df))
    return Interval(mean, mean - half, mean + half, n, p)


def interval_record(interval: Interval, key: str = "value") -> dict[str, Any]:
    """`{<key>, low, high, n}`, as summaries have it, of a difference also `p`; what is undefined is
    None."""
    record = {key: interval.value, "low": interval.low, "high": interval.high, "n": interval.n}
    return record if interval.p is None else {**record, "p": interval.p}


def rate_record(k: int, n: int, confidence: float) -> dict[str, Any]:
    """`{k, n, rate, low, high}` of k cases of n, with its exact interval."""
    interval = rate_interval(k, n, confidence)
    return {"k": k, "n": n, "rate": interval.value, "low": interval.low, "high": interval.high}
