"""Slopes within groups: how a value changes with another, whatever group it is in."""

from collections.abc import Hashable, Sequence

import numpy as np
import scipy.stats
from jaxtyping import Float, Int

from vcjax.stats.clusters import numbered
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

    The standard error is the jackknife's over clusters, which errs towards wide with few of them,
    with Student's t of Satterthwaite's degrees of freedom, as of independent errors (Bell &
    McCaffrey 2002, Survey Methodology 28(2): 169-181): where the slope hangs on few clusters with
    unusual `x`, as it does on a few long answers, these are few as well. One less than there are
    clusters would be too many. `p` is of the hypothesis that the slope is 0.

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
    group_of, cluster_of = numbered(groups), numbered(names)
    weights, n = _weights(a, group_of), len(a)
    if weights is None:
        return Interval(n=n)
    b = _centred(b, group_of)  # which changes no slope, and loses no digits to a large mean
    slope = float(weights @ b)
    count = int(cluster_of.max()) + 1
    # A slope is a weighted sum of y. What leaving a cluster out changes is then a weighted sum too,
    # and the weights alone, a row for each cluster, give both the jackknife's error and its degrees
    # of freedom.
    changes = np.tile(-weights, (count, 1))  # of the weights, without each of the clusters
    for cluster, change in enumerate(changes):
        kept = cluster_of != cluster
        without = _weights(a[kept], group_of[kept])
        if without is None:
            return Interval(slope, None, None, n)
        change[kept] += without
    error = float(np.sqrt((count - 1) / count * np.square(changes @ b).sum()))
    if count < 3 or error == 0:
        return Interval(slope, None, None, n)
    shares = changes / np.abs(changes).max()  # whose squares are finite numbers
    alike = shares @ shares.T
    df = float(np.trace(alike) ** 2 / np.square(alike).sum())
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, df)) * error
    p = float(2 * scipy.stats.t.sf(abs(slope) / error, df))
    return Interval(slope, slope - half, slope + half, n, p)


def _weights(
    x: Float[np.ndarray, " items"], groups: Int[np.ndarray, " items"]
) -> Float[np.ndarray, " items"] | None:
    """What each y counts for in the slope; None where `x` varies in no group."""
    if not len(x):
        return None
    centred = _centred(x, groups)
    spread = float(centred @ centred)
    # Rounding leaves a little where all are equal.
    return centred / spread if spread > 1e-12 * float(x @ x) else None


def _centred(
    values: Float[np.ndarray, " items"], groups: Int[np.ndarray, " items"]
) -> Float[np.ndarray, " items"]:
    means = np.bincount(groups, values) / np.maximum(np.bincount(groups), 1)
    return values - means[groups]
