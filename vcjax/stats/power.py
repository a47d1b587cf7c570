"""The smallest difference that a paired comparison of this size could have found."""

from collections.abc import Callable

import numpy as np
import scipy.stats
from scipy.optimize import root_scalar

from vcjax.stats.bounded import BoundedMean
from vcjax.stats.clusters import cluster_numbers, clustered_variance, effective_size
from vcjax.stats.intervals import Clusters, Scale, Values
from vcjax.stats.paired import discordant, sign_flip_test


def detectable_difference(
    before: Values,
    after: Values,
    clusters: Clusters | None = None,
    *,
    scale: Scale | None = None,
    level: float = 0.05,
    power: float = 0.8,
    seed: int = 0,
) -> float | None:
    """The smallest true difference that `paired_difference` would find with probability `power`.

    It depends on how much the pairs differ among themselves, not on the difference that was
    observed. It is the least mean that the test itself rejects at `level`, and by how much the true
    mean must exceed it so that the observed one does with this probability. Of booleans whose
    clusters have one member each it is exact, for McNemar's test, at the observed share of items
    that changed.

    Args:
      clusters, scale, seed: as of `vcjax.stats.intervals.paired_difference`.
      level: of the test, e.g. 0.05 divided by the number of comparisons.

    Returns:
      A positive number, or None: there are fewer than two clusters, or not even a run that has an
      end of the scale on every item would be found to differ.
    """
    first, second = np.asarray(before), np.asarray(after)
    numbers = cluster_numbers(clusters, len(first))
    if len(first) < 2 or numbers.max() < 1:
        return None
    rates = first.dtype == second.dtype == np.bool_
    if rates and numbers.max() + 1 == len(first):
        return _of_rates(*discordant(first, second), len(first), level, power)
    differences = second.astype(np.float64) - first.astype(np.float64)
    variance = clustered_variance(differences, numbers)
    error = float(np.sqrt(variance.value))
    low, high = (0.0, 1.0) if rates else scale or (-np.inf, np.inf)
    if not rates and scale is None:
        if error == 0:
            return None
        critical = variance.quantile(1 - level) * error
    else:
        size = float(len(differences))
        if numbers.max() + 1 < len(differences):
            size = effective_size(differences, numbers, variance, 0.95)
        bound = BoundedMean.of(differences, (low - high, high - low), size, seed)
        critical = _critical(bound, float(differences.mean()), level)
    if critical is None:
        return None
    # The observed mean falls short of the true one by this much with the probability 1 - power.
    found = critical + float(scipy.stats.t.ppf(power, variance.df)) * error
    room = max(high - float(first.mean()), float(first.mean()) - low)
    return found if found <= room else None


def detectable_by_sign_flips(
    before: Values,
    after: Values,
    clusters: Clusters | None = None,
    *,
    scale: Scale,
    level: float = 0.05,
    power: float = 0.8,
    seed: int = 0,
) -> float | None:
    """The smallest true difference that `vcjax.stats.paired.sign_flip_test` would find.

    See `detectable_difference` for what it means, for the arguments and for None. The p-value of n
    clusters is at least 2^(1 - n), so that a few have none that is small enough.
    """
    differences = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    numbers = cluster_numbers(clusters, len(differences))
    if len(differences) < 2 or numbers.max() < 1:
        return None
    mean = float(differences.mean())
    variance = clustered_variance(differences, numbers)
    span = scale[1] - scale[0]

    def excess(distance: float) -> float:
        moved = differences - mean + distance
        return sign_flip_test(moved, numbers, seed=seed) - level

    if excess(span) > 0:
        return None
    found = _root(excess, span)
    found += float(scipy.stats.t.ppf(power, variance.df)) * float(np.sqrt(variance.value))
    first = float(np.mean(before))
    return found if found <= max(scale[1] - first, first - scale[0]) else None


def _critical(bound: BoundedMean, mean: float, level: float) -> float | None:
    """The least distance of a mean from 0 at which its test rejects, in the worse direction."""
    span = bound.scale[1]
    centred = bound.drawn() - mean

    def excess(distance: float, sign: int) -> float:
        moved = BoundedMean(bound.scale, bound.size, None, centred + sign * distance)
        return moved.p_value(0.0) - level

    found = []
    for sign in (1, -1):
        if excess(span, sign) > 0:
            return None
        found.append(_root(lambda distance, sign=sign: excess(distance, sign), span))
    return max(found)


def _of_rates(gained: int, lost: int, n: int, level: float, power: float) -> float | None:
    changes = np.arange(n + 1)
    # The test rejects where at most so many of the items that changed went the rarer way.
    rarer = scipy.stats.binom.ppf(level / 2, changes, 0.5)
    rarer -= scipy.stats.binom.cdf(rarer, changes, 0.5) > level / 2

    def shortfall(difference: float) -> float:
        # A rate can't change by more than the share of items that do.
        share = max((gained + lost) / n, difference)
        up = min(1.0, (1 + difference / share) / 2)
        rejects = scipy.stats.binom.sf(changes - rarer - 1, changes, up)
        rejects = rejects + scipy.stats.binom.cdf(rarer, changes, up)
        return power - float(scipy.stats.binom.pmf(changes, n, share) @ rejects)

    return None if shortfall(1.0) > 0 else _root(shortfall, 1.0)


def _root(function: Callable[[float], float], end: float) -> float:
    """The point up to `end` at which a function that falls from above 0 crosses it."""
    if function(1e-9) <= 0:
        return 0.0
    return root_scalar(function, bracket=(1e-9, end), xtol=1e-4 * end).root
