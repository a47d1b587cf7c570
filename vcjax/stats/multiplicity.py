"""Several tests at once."""

from collections.abc import Sequence

import numpy as np


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
