"""Rates before and after on the same items: McNemar's exact test and Tango's score interval."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
import scipy.stats
from jaxtyping import Bool
from scipy.optimize import root_scalar


def mcnemar_exact(
    before: Bool[np.ndarray, " items"] | Sequence[bool],
    after: Bool[np.ndarray, " items"] | Sequence[bool],
) -> float:
    """The two-sided p-value of McNemar's exact test that two rates on the same items are equal.

    Only items that changed count: under the null each changed in either direction with probability
    1/2 (the exact conditional test in Fagerland, Lydersen & Laake 2013, BMC Medical Research
    Methodology 13:91). Where nothing changed it is 1.

    Raises:
      ValueError: not the same number of values.
    """
    gained, lost = discordant(before, after)
    return float(scipy.stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def discordant(
    before: Bool[np.ndarray, " items"] | Sequence[bool],
    after: Bool[np.ndarray, " items"] | Sequence[bool],
) -> tuple[int, int]:
    """How many items became true, and how many became false.

    Raises:
      ValueError: not the same number of values.
    """
    pairs = list(zip(before, after, strict=True))
    return sum(bool(b and not a) for a, b in pairs), sum(bool(a and not b) for a, b in pairs)


def tango_interval(gained: int, lost: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of the difference of two rates on the same n items (Tango 1998,
    Statistics in Medicine 17: 891-908): all differences that the score test doesn't reject.

    It has a width where no item changed, too.

    Args:
      gained, lost: how many items are true only after, and only before.
    """
    quantile = float(scipy.stats.norm.ppf((1 + confidence) / 2))

    def distance(difference: float) -> float:
        """In standard errors, between the counts and what the difference would lead to expect."""
        # The likelihood of a difference is greatest where `share` of the items are lost (eq. 18).
        b = -gained - lost + (2 * n - gained + lost) * difference
        c = -lost * difference * (1 - difference)
        share = (sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = n * (2 * share + difference * (1 - difference))
        # At the ends of the scale the variance is 0, and the distance infinite.
        return (gained - lost - n * difference) / sqrt(max(variance, 1e-12))

    def bound(quantile: float) -> float:
        return root_scalar(lambda d: distance(d) - quantile, bracket=(-1.0, 1.0)).root

    # If all items changed alike, the estimate is an end of the scale, and a bound.
    return -1.0 if lost == n else bound(quantile), 1.0 if gained == n else bound(-quantile)
