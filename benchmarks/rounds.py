"""Contenders that take turns, and what their times say of each other.

The machine's speed drifts, so a ratio is taken within each round, between neighbours, and told
as the median over the rounds with the lowest and the highest.
"""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from benchmarks.worker import Worker

Round = dict[str, float]
"""Seconds of a step by contender: the mean over the steps of its turn."""


def take_turns(workers: Sequence[Worker], rounds: int) -> list[Round]:
    """Lets each run some steps, one after the other, `rounds` times."""
    return [{worker.entry.name: fmean(worker.turn()) for worker in workers} for _ in range(rounds)]


def spread(values: Iterable[float]) -> dict[str, Any]:
    """`median, low, high` and all `values`."""
    values = list(values)
    return {"median": median(values), "low": min(values), "high": max(values), "values": values}


def rate_ratio(rounds: Sequence[Round], of: str, to: str) -> dict[str, Any]:
    """How many times as fast `of` is as `to`, over the rounds that have both."""
    return spread(one[to] / one[of] for one in rounds if of in one and to in one)


def summarise(
    ready: Mapping[str, Any], seconds: Iterable[float], peak: int, tokens: int, flops: float
) -> dict[str, Any]:
    """What a case says of a contender.

    Args:
      ready: its answer when it was set up.
      seconds: of a step, by round.
      tokens, flops: of a step.

    Returns:
      `setup_seconds, first_step_seconds, seconds` (a spread), `tokens_per_second`,
      `flops_per_second`, `peak_bytes`, `losses` (of the first two steps) and `facts`.
    """
    taken = spread(seconds)
    return {
        "setup_seconds": ready["setup_seconds"],
        "first_step_seconds": ready["first_step_seconds"],
        "seconds": taken,
        "tokens_per_second": tokens / taken["median"],
        "flops_per_second": flops / taken["median"],
        "peak_bytes": peak,
        "losses": ready["losses"],
        "facts": ready["facts"],
    }
