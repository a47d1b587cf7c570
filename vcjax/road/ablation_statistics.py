"""Means over the same items in several runs, with the runs' own differences in the interval."""

import numpy as np
from jaxtyping import Float

from vcjax.evaluation.statistics import Interval, mean_interval

_RESAMPLES = 9999


def crossed_mean(
    values: Float[np.ndarray, "runs items"], confidence: float = 0.95, seed: int = 0
) -> Interval:
    """The mean of values that each of several runs has for each of the same items.

    Both are resampled, runs and items (the pigeonhole bootstrap of Owen, "The pigeonhole
    bootstrap", 2007, which errs towards wide), and the percentile interval is given: what holds
    beyond these items and beyond these seeds. With one run it is `mean_interval` over its items,
    and says nothing of other seeds.

    For a paired difference give the differences.
    """
    runs, items = values.shape
    if runs == 1 or not items or np.all(values == values.flat[0]):
        return mean_interval(values.mean(axis=0).tolist(), confidence, seed)
    random = np.random.default_rng(seed)
    of_runs = random.multinomial(runs, np.full(runs, 1 / runs), _RESAMPLES)
    of_items = random.multinomial(items, np.full(items, 1 / items), _RESAMPLES)
    means = np.sum((of_runs @ values) * of_items, axis=1) / (runs * items)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    mean = float(values.mean())
    return Interval(mean, min(float(low), mean), max(float(high), mean), items)
