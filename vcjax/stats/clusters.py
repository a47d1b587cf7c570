"""Means of values in clusters, whose members are alike: variance and effective number of values."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from jaxtyping import Float, Int


@dataclass(frozen=True)
class Variance:
    """The estimated variance of a mean.

    Attributes:
      value: in squared units of the mean.
      df: degrees of freedom of the estimate, for Student's distribution.
    """

    value: float
    df: float

    @classmethod
    def of_mean(cls, values: Float[np.ndarray, " values"]) -> "Variance":
        """The variance of the mean of independent values."""
        return cls(float(values.var(ddof=1)) / len(values), len(values) - 1)

    def __add__(self, other: "Variance") -> "Variance":
        """The variance of a mean with two independent causes of it (Satterthwaite 1946)."""
        total = self.value + other.value
        if total == 0:
            return Variance(0.0, min(self.df, other.df))
        parts = self.value**2 / self.df + other.value**2 / other.df
        return Variance(total, total**2 / parts)

    def quantile(self, confidence: float) -> float:
        """Student's two-sided quantile."""
        return float(scipy.stats.t.ppf((1 + confidence) / 2, self.df))


def numbered(names: Iterable[Hashable]) -> Int[np.ndarray, " names"]:
    """A number for each name, from 0 on in the order in which they first come; equal names have
    the same."""
    number_of: dict[Hashable, int] = {}
    return np.array([number_of.setdefault(name, len(number_of)) for name in names], int)


def cluster_numbers(clusters: Sequence[Hashable] | None, n: int) -> Int[np.ndarray, " values"]:
    """The number of each value's cluster, from 0 on, in the order in which they first come.

    Args:
      clusters: the cluster of each of `n` values; None makes each value its own.

    Raises:
      ValueError: not one cluster for each value.
    """
    numbers = numbered(range(n) if clusters is None else clusters)
    if len(numbers) != n:
        raise ValueError(f"{n} values, but {len(numbers)} clusters")
    return numbers


def clustered_variance(
    values: Float[np.ndarray, " values"], clusters: Int[np.ndarray, " values"]
) -> Variance:
    """Of the mean of values in clusters: the bias-reduced linearisation CR2 and its degrees of
    freedom (Bell & McCaffrey 2002, Survey Methodology 28(2): 169-181), made for few clusters.

    With clusters of one size it is the variance of the mean of the clusters' means, with one degree
    of freedom less than there are clusters.

    Args:
      clusters: the number of each value's cluster, from 0 on; at least two clusters.
    """
    n = len(values)
    # Clusters and not values are independent, so the sum of a cluster's residuals is one term.
    sizes = np.bincount(clusters).astype(np.float64)
    residuals = np.bincount(clusters, weights=values - values.mean())
    share = sizes / n  # a cluster's leverage: its residual is too small by this share
    value = float(np.sum(residuals**2 / (1 - share)) / n**2)
    # The estimate is a quadratic form, a weighted sum of chi-squares. Its weights are the
    # eigenvalues of `form`, of which the trace and the Frobenius norm are enough.
    form = (np.diag(sizes) - np.outer(sizes, sizes) / n) / np.sqrt(np.outer(1 - share, 1 - share))
    return Variance(value, float(np.trace(form) ** 2 / np.sum(form**2)))


def effective_size(
    values: Float[np.ndarray, " values"],
    clusters: Int[np.ndarray, " values"],
    variance: Variance,
    confidence: float,
) -> float:
    """How many independent values would determine the mean as well (Korn & Graubard 1998, Survey
    Methodology 24(2): 193-201), with their correction for the degrees of freedom.

    It is at most the number of values. Where all values are equal, nothing is known of how alike a
    cluster's members are, and it is the number of clusters.

    Args:
      variance: of the mean, from `clustered_variance`.
    """
    n = len(values)
    alone = Variance.of_mean(values)
    if variance.value == 0 or alone.value == 0:
        return float(clusters.max() + 1)
    # Few clusters estimate the variance badly, too, for which an interval pays by Student's
    # quantile. That of the effective sample is to be as wide: hence the squared ratio.
    ratio = alone.quantile(confidence) / variance.quantile(confidence)
    return min(float(n), n * alone.value / variance.value * ratio**2)
