"""Estimates with their intervals as they stand in reports."""

from typing import Any

from vcjax.evaluation.statistics import Interval, rate_interval


def interval_record(interval: Interval) -> dict[str, Any]:
    """`{value, low, high, n}`; what can't be known is None."""
    return {"value": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n}


def rate_record(k: int, n: int, confidence: float) -> dict[str, Any]:
    """`{k, n, rate, low, high}` of k cases of n, with Wilson's interval."""
    interval = rate_interval(k, n, confidence)
    return {"k": k, "n": n, "rate": interval.mean, "low": interval.low, "high": interval.high}
