"""Several tests at once: corrected p-values, and the words that follow from them."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from vcjax.stats.intervals import Interval

Key = TypeVar("Key", bound=Hashable)

MINIMUM_PAIRS = 10
"""Fewer pairs could distinguish nothing from chance but a change of nearly all of them."""

NO_CHANGE = "no clear change"
TOO_FEW = "too few pairs to say"
UNTESTED = "not tested"  # summaries of versions that recorded no p-values


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values, corrected so that all that are at most alpha contain a false one with
    probability alpha at most, however the tests depend on each other (Holm 1979, Scandinavian
    Journal of Statistics 6: 65-70).

    Returns them in the order of `p_values`.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    # The smallest of m p-values is multiplied by m; if it is rejected, at most m - 1 null
    # hypotheses can be true, so that the next one is multiplied by m - 1, and so on. The running
    # maximum is the stepping down: none is rejected unless all smaller ones are.
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


def readings(differences: Mapping[Key, Interval], confidence: float = 0.95) -> dict[Key, str]:
    """Each difference in words: `higher`, `lower`, `no clear change` or `too few pairs to say`.

    The words follow the p-values, corrected by Holm's method for how many differences there are: if
    nothing changed, any of them reads `higher` or `lower` with probability `1 - confidence` at
    most. Pass all that a page prints together.
    """
    p = corrected(differences)
    return {
        key: reading(difference, p.get(key), confidence) for key, difference in differences.items()
    }


def reading(difference: Interval, corrected_p: float | None, confidence: float = 0.95) -> str:
    """One difference in words, by its corrected p-value; see `readings`."""
    if corrected_p is not None:
        if difference.value is None or corrected_p > 1 - confidence:
            return NO_CHANGE
        return "higher" if difference.value > 0 else "lower"
    if difference.n < MINIMUM_PAIRS or difference.bounds is None:
        return TOO_FEW
    return UNTESTED
