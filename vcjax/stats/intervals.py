"""Means, rates and differences with their confidence intervals: numbers, records and text."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
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
      value: the mean, rate, difference or coefficient; None where it is undefined.
      low, high: the bounds; None where there are too few values for any.
      n: number of values.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0

    @classmethod
    def of(cls, record: Mapping[str, Any] | None, key: str = "value") -> "Interval":
        """Reads `{<key>, low, high, n}` from a summary; a missing record gives an empty interval.

        NaN, which other tools write where nothing was measured, is read as None.
        """
        if record is None:
            return cls()
        numbers = (record[name] for name in (key, "low", "high"))
        known = [None if each is None or math.isnan(each) else each for each in numbers]
        return cls(*known, n=record["n"])

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
        """As `text`, with Python's format for each number: `{interval:.0%}` is `50% [40%, 60%]`."""
        return self.text(lambda number: format(number, specification))


def mean_interval(
    values: Sequence[float], confidence: float = 0.95, seed: int = 0, resamples: int = 9999
) -> Interval:
    """The mean with its BCa bootstrap interval (Efron 1987), from `scipy.stats.bootstrap`.

    Where BCa is undefined the percentile interval replaces it. Equal values give an interval
    of no width; fewer than two values give no interval.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size < 2:
        return Interval(float(data[0]) if data.size else None, None, None, data.size)
    mean = float(np.mean(data))
    if np.all(data == data[0]):  # BCa's acceleration would be 0 / 0
        mean = float(data[0])
        return Interval(mean, mean, mean, data.size)
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            # SciPy returns an undefined interval as NaN and warns; it is tested for below.
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

    The items are resampled, so that what makes an item easy or hard cancels out.

    Raises:
      ValueError: not the same number of values.
    """
    pairs = zip(before, after, strict=True)
    return mean_interval([float(b) - float(a) for a, b in pairs], confidence, seed)


def interval_record(interval: Interval) -> dict[str, Any]:
    """`{value, low, high, n}`, as summaries have it; what is undefined is None."""
    return {"value": interval.value, "low": interval.low, "high": interval.high, "n": interval.n}


def rate_record(k: int, n: int, confidence: float) -> dict[str, Any]:
    """`{k, n, rate, low, high}` of k cases of n, with Wilson's interval."""
    interval = rate_interval(k, n, confidence)
    return {"k": k, "n": n, "rate": interval.value, "low": interval.low, "high": interval.high}


def crossed_mean(
    values: Float[np.ndarray, "runs items"], confidence: float = 0.95, seed: int = 0
) -> Interval:
    """The mean of values that each of several runs has for each of the same items.

    Both are resampled, runs and items (the pigeonhole bootstrap of Owen, "The pigeonhole
    bootstrap", 2007, which errs towards wide), and the percentile interval is returned: it covers
    other items and other seeds. With one run it is `mean_interval` over the items, which doesn't
    cover other seeds.

    For a paired difference pass the differences.
    """
    runs, items = values.shape
    if runs == 1 or not items or np.all(values == values.flat[0]):
        return mean_interval(values.mean(axis=0).tolist(), confidence, seed)
    random = np.random.default_rng(seed)
    run_counts = random.multinomial(runs, np.full(runs, 1 / runs), _RESAMPLES)
    item_counts = random.multinomial(items, np.full(items, 1 / items), _RESAMPLES)
    means = np.sum((run_counts @ values) * item_counts, axis=1) / (runs * items)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    mean = float(values.mean())
    return Interval(mean, min(float(low), mean), max(float(high), mean), items)
