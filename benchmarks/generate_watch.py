"""What is watched while an engine runs: when tokens come, and what is compiled."""

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import jax

from benchmarks.rounds import spread
from vcjax.generate.cache import MIN_CHUNK, DecodeState
from vcjax.generate.engine import Engine
from vcjax.generate.layout import ModelLayout
from vcjax.generate.requests import Request

_COMPILED = "/jax/core/compile/backend_compile_duration"


class Compilations:
    """Counts what XLA compiles in this process."""

    def __init__(self) -> None:
        self._count, self._settled = 0, None
        jax.monitoring.register_event_duration_secs_listener(self._hear)

    def settle(self) -> None:
        """All programs have been met, the first time that this is called."""
        if self._settled is None:
            self._settled = self._count

    def told(self) -> dict[str, int]:
        """`first`, until it was settled, and `later`, which should be none."""
        settled = self._count if self._settled is None else self._settled
        return {"first": settled, "later": self._count - settled}

    def _hear(self, event: str, duration_secs: float, **_: Any) -> None:
        self._count += event == _COMPILED


def programs_at_most(layout: ModelLayout, part: int) -> int:
    """How many programs with the model in them an engine can compile, whatever it is asked.

    One for decode steps in each length of the cache, and one for each length of a prompt's part,
    of what that looks at and of the cache.

    Args:
      part: the engine's.
    """
    state = DecodeState(layout, 1, 0)
    windows = {state.window(length) for length in range(1, layout.config.max_position + 1)}
    parts = {min(MIN_CHUNK << doublings, part) for doublings in range(part.bit_length())}
    prefills = sum(
        size < 2 * window and window <= context
        for size in parts
        for window in windows
        for context in windows
    )
    return len(windows) + prefills


class Clock:
    """Runs requests and notes when their tokens come."""

    def __init__(self) -> None:
        self._first: list[float] = []
        self._between: list[float] = []

    def clear(self) -> None:
        """Forgets the runs so far."""
        self._first, self._between = [], []

    def run(self, engine: Engine, requests: Sequence[Request]) -> list[int]:
        """Runs requests to their end; how many tokens each made."""
        first, last = [0.0] * len(requests), [0.0] * len(requests)
        made = [0] * len(requests)
        begun = time.perf_counter()
        for event in engine.events(requests):
            if event.token is None:
                continue
            last[event.index] = time.perf_counter()
            if not made[event.index]:
                first[event.index] = last[event.index]
            made[event.index] += 1
        latest = max(range(len(requests)), key=first.__getitem__)
        self._first.append(median(first) - begun)
        if made[latest] > 1:
            self._between.append((last[latest] - first[latest]) / (made[latest] - 1))
        return made

    def told(self) -> dict[str, Any]:
        """Seconds, spread over the runs.

        `first_token_seconds`: until a request's first token, the median over the requests.
        `step_seconds`: between two tokens of the request that began last; beside it, all those
        that a batch holds decode and no prompt is prefilled.
        """
        told = {"first_token_seconds": self._first, "step_seconds": self._between}
        return {name: spread(values) for name, values in told.items() if values}
