"""Values before and after on the same items: McNemar's exact test and Tango's score interval of
rates, and the sign-flip test of anything."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float, Int
from scipy.optimize import root_scalar

_FLIPS = 9999
_ENUMERATED = 13  # items up to which every assignment of signs is tried


def sign_flip_test(
    differences: Float[np.ndarray, " items"] | Sequence[float],
    clusters: Int[np.ndarray, " items"] | Sequence[int] | None = None,
    *,
    seed: int = 0,
) -> float:
    """The two-sided p-value that which side of each item is which makes no difference.

    Then every item's difference has either sign with equal probability, and p is the share of
    assignments of signs whose sum is at least as far from 0 as that of `differences`: exactly, for
    few items, or by drawing (Phipson & Smyth 2010, "Permutation P-values should never be zero",
    SAGMB 9(1): 39). It needs no scale, and finds small differences of many items that distribution-
    free intervals of a mean can't exclude from 0. As all assignments have the same sum of squares,
    it is the same test with Student's statistic, which is valid for asymmetric differences of mean
    0 too, in large samples (Janssen 1997, Statistics & Probability Letters 36: 9-21).

    Args:
      clusters: numbers from 0 on; the differences of one cluster change their signs together.
      seed: of the drawn signs.
    """
    values = np.asarray(differences, np.float64)
    sums = values if clusters is None else np.bincount(np.asarray(clusters), weights=values)
    # A sum of 0 is 0 with either sign: without it there are fewer assignments to enumerate, and p
    # is the same.
    sums = sums[sums != 0]
    if not len(sums):
        return 1.0
    if len(sums) <= _ENUMERATED:
        # One sign is fixed: the other half of the assignments mirrors this one. The bits of a row's
        # number are the others.
        rows = np.arange(2 ** (len(sums) - 1))[:, None]
        signs, added = 1 - 2 * (rows >> np.arange(len(sums)) & 1), 0
    else:
        bits = np.random.default_rng(seed).integers(0, 2, (_FLIPS, len(sums)), np.int8)
        signs = 1.0 - 2 * bits
        # The assignment that was observed is one of those that could have been drawn; without it p
        # could be 0, which no permutation test has shown.
        added = 1
    least = abs(sums.sum()) * (1 - 1e-12)  # sums of the same numbers in another order differ
    extreme = int(np.sum(np.abs(signs @ sums) >= least))
    return (extreme + added) / (len(signs) + added)


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
        """The standard errors between the counts and their expectation under the difference."""
        # The likelihood of a difference is greatest where `share` of the items are lost (eq. 18).
        # The root of 2 n x^2 + b x + c: there the log-likelihood's derivative in the share is 0.
        b = -gained - lost + (2 * n - gained + lost) * difference
        c = -lost * difference * (1 - difference)
        share = (sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = n * (2 * share + difference * (1 - difference))
        # At the ends of the scale the variance is 0, and the distance infinite.
        return (gained - lost - n * difference) / sqrt(max(variance, 1e-12))

    def bound(quantile: float) -> float:
        # The distance falls as the difference grows, so that each bound is the only root.
        return root_scalar(lambda d: distance(d) - quantile, bracket=(-1.0, 1.0)).root

    # If all items changed alike, the estimate is an end of the scale, and a bound.
    return -1.0 if lost == n else bound(quantile), 1.0 if gained == n else bound(-quantile)
