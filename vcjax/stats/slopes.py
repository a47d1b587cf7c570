"""Slopes within groups: how a value changes with another, whatever group it is in."""

from collections.abc import Hashable, Sequence

import numpy as np
import scipy.stats
from jaxtyping import Float

from vcjax.stats.intervals import Interval

Values = Sequence[float] | Float[np.ndarray, " items"]


def slope_within(
    x: Values,
    y: Values,
    groups: Sequence[Hashable],
    clusters: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
) -> Interval:
    """The least-squares slope of `y` on `x` with a constant of its own for each group.

    The standard error is the jackknife's over clusters (Bell & McCaffrey 2002, CR3), which errs
    towards wide with few of them, with Student's t of one degree of freedom less than clusters.
    `p` is of the hypothesis that the slope is 0.

    Args:
      clusters: of each value; those of one cluster are alike. None makes each its own.

    Returns an interval without a value where `x` varies in no group, and without bounds where there
    are fewer than three clusters or the slope is known but for one of them.

    Raises:
      ValueError: not one of each for every value.
    """
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    names = list(range(len(a))) if clusters is None else list(clusters)
    if not len(a) == len(b) == len(groups) == len(names):
        raise ValueError("a value needs an x, a y, a group and a cluster")
    group_of, cluster_of = _numbers(groups), _numbers(names)
    slope, n = _slope(a, b, group_of), len(a)
    if slope is None:
        return Interval(n=n)
    count = int(cluster_of.max()) + 1
    without = [
        _slope(a[kept], b[kept], group_of[kept])
        for kept in (cluster_of != cluster for cluster in range(count))
    ]
    if count < 3 or any(each is None for each in without):
        return Interval(slope, None, None, n)
    error = np.sqrt((count - 1) / count * np.square(np.array(without, float) - slope).sum())
    if error == 0:
        return Interval(slope, None, None, n)
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, count - 1) * error)
    p = float(2 * scipy.stats.t.sf(abs(slope) / error, count - 1))
    return Interval(slope, slope - half, slope + half, n, p)


def _slope(
    x: Float[np.ndarray, " items"], y: Float[np.ndarray, " items"], groups: np.ndarray
) -> float | None:
    if not len(x):
        return None
    sizes = np.bincount(groups)
    centred = []
    for side in (x, y):
        means = np.bincount(groups, side) / np.maximum(sizes, 1)
        centred.append(side - means[groups])
    spread = float(centred[0] @ centred[0])
    # Rounding leaves a little where all are equal.
    return float(centred[0] @ centred[1]) / spread if spread > 1e-12 * float(x @ x) else None


def _numbers(names: Sequence[Hashable]) -> np.ndarray:
    number_of: dict[Hashable, int] = {}
    return np.array([number_of.setdefault(name, len(number_of)) for name in names], int)
