"""Means and rates with their uncertainty."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Float

_RESAMPLES = 9999


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval.

    Attributes:
      mean: the mean or rate; None where there are no values.
      low, high: the bounds; None where there are too few values for any.
      n: number of values.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int


def mean_interval(
    values: Sequence[float], confidence: float = 0.95, seed: int = 0, resamples: int = 9999
) -> Interval:
    """The mean with its BCa bootstrap interval (Efron 1987), from `scipy.stats.bootstrap`.

    Where BCa is undefined the percentile interval stands in for it. Equal values give an interval
    of no width; fewer than two values give no interval.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size < 2:
        return Interval(float(data[0]) if data.size else None, None, None, data.size)
    mean = float(np.mean(data))
    if np.all(data == data[0]):
        mean = float(data[0])
        return Interval(mean, mean, mean, data.size)
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            # An undefined interval comes back as NaN, which is looked for below.
            warnings.simplefilter("ignore", RuntimeWarning)
            result = scipy.stats.bootstrap(
                (data,),
                np.mean,
                confidence_level=confidence,
                n_resamples=resamples,
                method=method,
                rng=np.random.default_rng(seed),
            )
        low, high = map(float, result.confidence_interval)
        if np.isfinite([low, high]).all():
            break
    # Summed in another order, a resample's mean can miss an equal mean by a rounding error.
    return Interval(mean, min(low, mean), max(high, mean), data.size)


def rate_interval(k: int, n: int, confidence: float = 0.95) -> Interval:
    """The rate k / n with its Wilson score interval (Wilson 1927), from `scipy.stats.binomtest`."""
    if n == 0:
        return Interval(None, None, None, 0)
    bounds = scipy.stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    rate = k / n
    return Interval(rate, min(float(bounds.low), rate), max(float(bounds.high), rate), n)


def paired_difference(
    before: Sequence[float], after: Sequence[float], confidence: float = 0.95, seed: int = 0
) -> Interval:
    """The mean of `after - before`, item by item; booleans give a difference of rates.

    The items are what is resampled, so what makes an item easy or hard cancels out.

    Raises:
      ValueError: not the same number of values.
    """
    pairs = zip(before, after, strict=True)
    return mean_interval([float(b) - float(a) for a, b in pairs], confidence, seed)


def interval_record(interval: Interval) -> dict[str, Any]:
    """`{value, low, high, n}`; what can't be known is None."""
    return {"value": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n}


def rate_record(k: int, n: int, confidence: float) -> dict[str, Any]:
    """`{k, n, rate, low, high}` of k cases of n, with Wilson's interval."""
    interval = rate_interval(k, n, confidence)
    return {"k": k, "n": n, "rate": interval.mean, "low": interval.low, "high": interval.high}


def crossed_mean(
    values: Float[np.ndarray, "runs items"], confidence: float = 0.95, seed: int = 0
) -> Interval:
    """The mean of values that each of several runs has for each of the same items.

    Both are resampled, runs and items (the pigeonhole bootstrap of Owen, "The pigeonhole
    bootstrap", 2007, which errs towards wide), and the percentile interval is given: what holds
    beyond these items and beyond these seeds. With one run it is `mean_interval` over its items,
    and says nothing of other seeds.

    For a paired difference give the differences.
    """
    runs, items = values.shape
    if runs == 1 or not items or np.all(values == values.flat[0]):
        return mean_interval(values.mean(axis=0).tolist(), confidence, seed)
    random = np.random.default_rng(seed)
    of_runs = random.multinomial(runs, np.full(runs, 1 / runs), _RESAMPLES)
    of_items = random.multinomial(items, np.full(items, 1 / items), _RESAMPLES)
    means = np.sum((of_runs @ values) * of_items, axis=1) / (runs * items)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    mean = float(values.mean())
    return Interval(mean, min(float(low), mean), max(float(high), mean), items)
