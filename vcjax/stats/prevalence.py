"""Rates that were observed through a classifier that errs, corrected for its errors."""

from dataclasses import dataclass
from math import sqrt

from scipy.stats import norm

from vcjax.stats.intervals import Interval, rate_interval


@dataclass(frozen=True)
class Share:
    """`k` of `n` cases.

    Raises:
      ValueError: `k` isn't from 0 to `n`.
    """

    k: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.k <= self.n:
            raise ValueError(f"{self.k} of {self.n} is no share")

    @property
    def rate(self) -> float:
        """k / n; there must be a case."""
        return self.k / self.n


def corrected_rate(
    observed: Share, sensitivity: Share, specificity: Share, confidence: float = 0.95
) -> Interval:
    """The true rate behind an observed one (Rogan & Gladen 1978), with the interval of Lang &
    Reiczigel (2014, Preventive Veterinary Medicine 113: 13-22, eqs. 6, 7 and 16-17), which carries
    the uncertainty of the observed rate, of the sensitivity and of the specificity.

    The classifier is assumed to err here as often as where it was measured. The estimate and its
    bounds are clipped to 0 and 1. All are None where the true rate is unknown: there are no cases,
    the classifier wasn't measured, or it is no better than chance.

    Args:
      observed: cases that the classifier calls positive, of those tested.
      sensitivity: truly positive cases that it calls positive.
      specificity: truly negative cases that it calls negative.
    """
    unknown = Interval(None, None, None, observed.n)
    if not (observed.n and sensitivity.n and specificity.n):
        return unknown
    informed = sensitivity.rate + specificity.rate - 1
    if informed <= 0:
        return unknown
    # Observed is true * sensitivity + (1 - true) * (1 - specificity), solved for the true rate.
    estimate = _clip((observed.rate + specificity.rate - 1) / informed)
    z = float(norm.ppf((1 + confidence) / 2))
    # The interval adds z^2 cases to the sample and two to each measurement, half of them positive
    # (Agresti & Coull), so that it covers at rates near 0 and 1, too.
    n, n_se, n_sp = observed.n + z**2, sensitivity.n + 2, specificity.n + 2
    p = (observed.k + z**2 / 2) / n
    se, sp = (sensitivity.k + 1) / n_se, (specificity.k + 1) / n_sp
    informed = se + sp - 1
    if informed <= 0:  # the added cases turn a test that is hardly better than chance
        return Interval(estimate, 0.0, 1.0, observed.n)
    rate = (p + sp - 1) / informed
    of_se, of_sp = se * (1 - se) / n_se, sp * (1 - sp) / n_sp
    shift = 2 * z**2 * (rate * of_se - (1 - rate) * of_sp)
    spread = sqrt(p * (1 - p) / n + rate**2 * of_se + (1 - rate) ** 2 * of_sp) / informed
    low, high = _clip(rate + shift - z * spread), _clip(rate + shift + z * spread)
    return Interval(estimate, min(low, estimate), max(high, estimate), observed.n)


def corrected_difference(
    seen: Interval, sensitivity: Share, specificity: Share, confidence: float = 0.95
) -> Interval:
    """The true difference of two rates behind an observed one, where both were observed through the
    same classifier: the observed difference divided by how much of one it lets through, sensitivity
    + specificity - 1.

    The interval carries the uncertainty of all three, by the method of variance estimates recovery:
    for the sum (Zou & Donner 2008, Statistics in Medicine 27: 1693-1702) and for the ratio (Donner
    & Zou 2012, Statistical Methods in Medical Research 21: 347-359, eqs. 9 and 10). It is clipped
    to -1 and 1.

    The classifier is assumed to err in both as often as where it was measured. Then it makes no
    difference where there is none, so that the p-value is that of the observed difference. All are
    None as in `corrected_rate`.

    Args:
      seen: the observed difference with its interval at the same confidence, such as of
        `vcjax.stats.intervals.paired_difference`.
    """
    unknown = Interval(None, None, None, seen.n)
    if seen.value is None or seen.bounds is None or not (sensitivity.n and specificity.n):
        return unknown
    informed = sensitivity.rate + specificity.rate - 1
    if informed <= 0:
        return unknown
    bounds = [rate_interval(share.k, share.n, confidence) for share in (sensitivity, specificity)]
    rates = sensitivity.rate, specificity.rate
    # Sensitivity and specificity come from different cases and are independent, so that the squares
    # of their distances to a bound add up to that of the sum (method of variance estimates
    # recovery).
    below = sqrt(
        sum((rate - (each.low or 0)) ** 2 for rate, each in zip(rates, bounds, strict=True))
    )
    above = sqrt(
        sum(((each.high or 0) - rate) ** 2 for rate, each in zip(rates, bounds, strict=True))
    )
    estimate = min(1.0, max(-1.0, seen.value / informed))
    least, most = informed - below, min(1.0, informed + above)
    if least <= 0:  # the classifier may be no better than chance
        return Interval(estimate, -1.0, 1.0, seen.n, seen.p)
    high = _upper_ratio(seen.value, seen.bounds[1], informed, least, most)
    low = -_upper_ratio(-seen.value, -seen.bounds[0], informed, least, most)
    return Interval(
        estimate, max(-1.0, min(low, estimate)), min(1.0, max(high, estimate)), seen.n, seen.p
    )


def _upper_ratio(top: float, bound: float, under: float, least: float, most: float) -> float:
    """The upper bound of top / under, where top is at most `bound` and under from least to most."""
    # A ratio above zero is largest where `under` is least, one below zero where it is most.
    end = least if bound >= 0 else most
    root = (top * under) ** 2 - bound * end * (2 * top - bound) * (2 * under - end)
    return (top * under + sqrt(max(root, 0.0))) / (end * (2 * under - end))


def _clip(rate: float) -> float:
    return min(1.0, max(0.0, rate))
