"""The mean of values on a bounded scale, with an interval that is right for small samples."""

from dataclasses import dataclass

import numpy as np
import scipy.stats
from jaxtyping import Float

# With these the probability beyond a bound, 2.5 %, has a standard error of 0.16 %.
_DRAWS = 9999


@dataclass(frozen=True)
class BoundedMean:
    """What a sample shows of the mean of a distribution on a bounded scale.

    Gaffke's bound (2005, Mathematical Methods of Statistics 14(4): 451-467; studied by
    Learned-Miller & Thomas 2019, arXiv:1905.06208): the sample gains one value that nobody saw, at
    an end of the scale; all values get random weights, uniform on the simplex; the bounds are
    quantiles of the weighted mean.

    - Where all values are at an end of the scale, as 0 and 1 are, the unseen value is at the lower
      end for the lower bound and at the upper end for the upper one. This is the interval of
      Clopper and Pearson, which covers at least as often as it claims.
    - Where values are between, that covers nearly always. The unseen value is then at either end
      with probability 1/2, which is the mid-P version (Lancaster 1961) of the bound.

    Equal values have an interval with a width, too: rare others may have been missed. For values
    that vary little it is wider than it need be.

    Attributes:
      scale: the least and the greatest value that is possible.
      size: the effective number of values.
      ends: how many of them are at the lower and at the upper end, where all are: the weights of
        the two ends have a beta distribution then, and nothing is drawn.
      means: else means of the sample under drawn weights.
    """

    scale: tuple[float, float]
    size: float
    ends: tuple[float, float] | None
    means: Float[np.ndarray, " draws"]

    @classmethod
    def of(
        cls,
        values: Float[np.ndarray, " values"],
        scale: tuple[float, float],
        size: float,
        seed: int,
    ) -> "BoundedMean":
        """Args:
          size: the effective number of values, at most that of `values`.

        Raises:
          ValueError: a value outside the scale.
        """
        low, high = scale
        kinds, counts = np.unique(values, return_counts=True)
        if kinds[0] < low or kinds[-1] > high:
            raise ValueError(f"{kinds[0]} to {kinds[-1]} is not within {low} to {high}")
        # As many independent values as the sample is worth, in the proportions of those that were
        # observed.
        shares = counts * (size / len(values))
        if set(kinds) <= {low, high}:
            ends = float(shares[kinds == low].sum()), float(shares[kinds == high].sum())
            return cls(scale, size, ends, np.empty(0))
        return cls(scale, size, None, _weighted_means(kinds, shares, seed))

    def drawn(self, seed: int = 0) -> Float[np.ndarray, " draws"]:
        """Means of the sample under drawn weights, also where none were needed."""
        if self.ends is None:
            return self.means
        return _weighted_means(np.array(self.scale), np.array(self.ends), seed)

    def interval(self, confidence: float) -> tuple[float, float]:
        """The lower and the upper bound of the mean."""
        low, high = self.scale
        tail = (1 - confidence) / 2
        if self.ends is not None:
            below, above = self.ends
            first = scipy.stats.beta.ppf(tail, above, below + 1) if above else 0.0
            last = scipy.stats.beta.isf(tail, above + 1, below) if below else 1.0
            return low + (high - low) * float(first), low + (high - low) * float(last)
        # The weight of the unseen value, by stratified draws in a random order. Its distribution is
        # beta(1, size), whose quantile is 1 - u^(1 / size).
        order = np.random.default_rng(_DRAWS).permutation(_DRAWS)
        unseen = -np.expm1(np.log((order + 0.5) / _DRAWS) / self.size)
        seen = (1 - unseen) * self.means
        drawn = np.concatenate([seen + unseen * low, seen + unseen * high])
        first, last = np.quantile(drawn, [tail, 1 - tail])
        return float(first), float(last)

    def p_value(self, null: float) -> float:
        """Of the two-sided test that the mean is `null`: one less the confidence of the interval
        that ends there."""
        low, high = self.scale
        if not low <= null <= high:
            return 0.0
        if self.ends is not None:
            below, above = self.ends
            share = (null - low) / (high - low)
            too_low = scipy.stats.beta.cdf(share, above, below + 1) if above else 1.0
            too_high = scipy.stats.beta.sf(share, above + 1, below) if below else 1.0
            return min(1.0, 2 * float(min(too_low, too_high)))
        # The unseen value's weight is integrated, which leaves less noise than drawing it: it is at
        # least x with probability (1 - x)^size, and x = (mean - null) / (mean - low) moves the
        # weighted mean to `null`. Means on the other side of `null` are replaced below.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            under = ((null - low) / (self.means - low)) ** self.size
            over = ((high - null) / (high - self.means)) ** self.size
        at_most = np.where(self.means > null, under, 1.0).mean()  # the unseen value at `low`
        at_least = np.where(self.means < null, over, 1.0).mean()  # at `high`
        too_low = (at_most + 1 - at_least) / 2
        return 2 * float(min(too_low, 1 - too_low))


def _weighted_means(
    kinds: Float[np.ndarray, " kinds"], shares: Float[np.ndarray, " kinds"], seed: int
) -> Float[np.ndarray, " draws"]:
    # Equal values share a weight, whose distribution is a gamma's: few draws for many values.
    weights = np.random.default_rng(seed).gamma(shares, size=(_DRAWS, len(kinds)))
    return weights @ kinds / weights.sum(axis=1)
