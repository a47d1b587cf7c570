"""Raters against a reference: how far they are off, and whether they are off together.

Raters whose errors are alike are worth less than their number: the mean of a panel keeps what its
members share.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class RaterErrors:
    """How alike the errors of several raters are.

    Attributes:
      correlation: of the errors of each two raters (Pearson's); NaN where one's never vary.
      common: the mean covariance of two raters' errors over the mean variance of one's.
      effective: the number of raters with independent errors whose mean would vary as much as
        this panel's does: `k / (1 + (k - 1) common)`, Kish's design effect (1965, ch. 5.4) of a
        cluster of k raters. NaN where no error varies, and where the panel's mean has none left.
      n: items that all raters and the reference have.
    """

    correlation: Float[np.ndarray, "raters raters"]
    common: float
    effective: float
    n: int


def rater_errors(
    ratings: Float[np.ndarray, "raters items"], reference: Float[np.ndarray, " items"]
) -> RaterErrors:
    """How alike the raters' errors are, over the items that nobody left out (NaN).

    An error is a rating minus the reference, minus the rater's mean error: what all are off by is a
    bias, which is another matter. The reference's own errors are in every rater's: where it is one
    person's opinion, `common` is too high and `effective` too low.

    Raises:
      ValueError: not `[raters, items]` of at least two raters, or not one reference for each item.
    """
    table = np.asarray(ratings, np.float64)
    if table.ndim != 2 or len(table) < 2 or table.shape[1] != len(reference):
        raise ValueError("ratings must be [raters, items], at least two raters, with a reference")
    errors = table - np.asarray(reference, np.float64)
    errors = errors[:, ~np.isnan(errors).any(axis=0)]
    k, n = errors.shape
    nothing = np.full((k, k), np.nan)
    if n < 2:
        return RaterErrors(nothing, np.nan, np.nan, n)
    covariance = np.atleast_2d(np.cov(errors))
    spread = np.sqrt(np.diag(covariance))
    scale = np.outer(spread, spread)
    correlation = np.divide(covariance, scale, out=nothing, where=scale > 0)
    variance = spread @ spread / k
    if variance == 0:
        return RaterErrors(correlation, np.nan, np.nan, n)
    common = float((covariance.sum() - k * variance) / (k * (k - 1)) / variance)
    # The variance of the mean of k raters is this many times what independent errors would give.
    inflation = 1 + (k - 1) * common
    effective = float(k / inflation) if inflation > 1e-9 else np.nan
    return RaterErrors(correlation, common, effective, n)
