"""Several tests at once."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from vcjax.stats.intervals import Interval

Key = TypeVar("Key", bound=Hashable)

MINIMUM_PAIRS = 10
"""With fewer, nothing but a change of nearly all of them could be known from chance."""


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values, corrected so that all that are at most alpha contain a false one with
    probability alpha at most, however the tests depend on each other (Holm 1979, Scandinavian
    Journal of Statistics 6: 65-70).

    Returns them in the order of `p_values`.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected.tolist()


def corrected(differences: Mapping[Key, Interval]) -> dict[Key, float]:
    """The p-values of those differences that are tested and have at least MINIMUM_PAIRS pairs,
    corrected by `holm` for how many these are."""
    tested = {
        key: difference.p
        for key, difference in differences.items()
        if difference.p is not None and difference.n >= MINIMUM_PAIRS
    }
    return dict(zip(tested, holm(list(tested.values())), strict=True))
