"""How often simulated intervals cover the truth: what every test of it needs, and its tables."""

from collections.abc import Callable

import numpy as np

from vcjax.stats.intervals import Interval

LEAST = 0.93
SAMPLES = 400
ERROR = 2.5 * np.sqrt(LEAST * (1 - LEAST) / SAMPLES)


def table(title: str, rows: list[tuple[str, int, float]]) -> None:
    print(f"\n{title}")
    for name, n, share in rows:
        print(f"  {name:46} n = {n:3}  {share:6.1%}")


def covered(truth: float, draw: Callable[[int], Interval], samples: int = SAMPLES) -> float:
    intervals = [draw(seed) for seed in range(samples)]
    return float(np.mean([each.low <= truth <= each.high for each in intervals]))
