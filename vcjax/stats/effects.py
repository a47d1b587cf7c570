"""How large a paired difference is, in units that don't depend on the scale."""

import math

import scipy.stats
from jaxtyping import Float
from numpy import ndarray

from vcjax.stats.intervals import Interval


def standardised_difference(differences: Float[ndarray, " items"]) -> float | None:
    """The mean of paired differences in their own standard deviations (Cohen's d_z), with Hedges'
    correction for small samples (1981, eq. 6e: exact, by the gamma function).

    It is the effect size that the power of a paired comparison depends on. None where there are
    fewer than three differences, or all are equal.
    """
    df = len(differences) - 1
    if df < 2 or (spread := float(differences.std(ddof=1))) == 0:
        return None
    correction = math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) / math.sqrt(df / 2)
    return correction * float(differences.mean()) / spread


def odds_ratio(gained: int, lost: int, confidence: float = 0.95) -> Interval:
    """The odds ratio of two rates on the same items: items that became true for each that became
    false, with the exact conditional interval (Fagerland, Lydersen & Laake 2014, Statistics in
    Medicine 33: 2850-2875, section 6.3), which is that of Clopper and Pearson, as odds.

    The value is None where nothing became false, and a bound where it is infinite. `n` is the
    number of items that changed.
    """
    changed = gained + lost
    if not changed:
        return Interval(None, None, None, 0)
    # Of the items that changed, those that gained are binomial with the share OR / (1 + OR).
    share = scipy.stats.binomtest(gained, changed).proportion_ci(confidence, method="exact")
    return Interval(
        gained / lost if lost else None,
        float(share.low / (1 - share.low)),
        float(share.high / (1 - share.high)) if share.high < 1 else None,
        changed,
    )
