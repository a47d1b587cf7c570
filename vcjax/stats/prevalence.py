"""Rates that were observed through a classifier that errs, corrected for its errors."""

from dataclasses import dataclass
from math import sqrt

from scipy.stats import norm

from vcjax.stats.intervals import Interval


@dataclass(frozen=True)
class Share:
    """`k` of `n` cases."""

    k: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.k <= self.n:
            raise ValueError(f"{self.k} of {self.n} is no share")

    @property
    def rate(self) -> float:
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


def _clip(rate: float) -> float:
    return min(1.0, max(0.0, rate))
