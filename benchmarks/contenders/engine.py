"""Our engine on requests of random ids, greedily: together, or in static batches."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from statistics import median
from typing import Any

import jax

from benchmarks.harness import spread
from benchmarks.serve import Contender, serve
from benchmarks.workload import Work
from vcjax.generate.cache import TILE, DecodeState
from vcjax.generate.engine import Engine
from vcjax.generate.layout import ModelLayout
from vcjax.generate.requests import Request, SamplingParams
from vcjax.generate.slots import SlotTable
from vcjax.weights.load import load_model

HOST_TRIES = 3
_COMPILED = "/jax/core/compile/backend_compile_duration"


class CompilationCounter:
    """Counts what XLA compiles in this process."""

    def __init__(self) -> None:
        self._count, self._settled = 0, None
        jax.monitoring.register_event_duration_secs_listener(self._listen)

    def settle(self) -> None:
        """Marks, on its first call, that every program has been compiled by now."""
        if self._settled is None:
            self._settled = self._count

    def counts(self) -> dict[str, int]:
        """`first`: compilations until `settle`; `later`: after it, which should be none."""
        settled = self._count if self._settled is None else self._settled
        return {"first": settled, "later": self._count - settled}

    def _listen(self, event: str, duration_secs: float, **_: Any) -> None:
        self._count += event == _COMPILED


def programs_at_most(layout: ModelLayout, part: int) -> int:
    """The most programs that contain the model which an engine can compile, for any requests.

    For each length of the cache one decode step, and one prefill for each size of its batches.

    Args:
      part: tokens of prompts that the engine prefills together.
    """
    state = DecodeState(layout, 1, 0)
    windows = state.windows(layout.config.max_position)
    return len(windows) * (1 + len(state.batch_sizes(max(1, part // TILE))))


class TokenTimer:
    """Runs requests and records when their tokens arrive."""

    def __init__(self) -> None:
        self._first: list[float] = []
        self._between: list[float] = []

    def clear(self) -> None:
        """Discards the recorded runs."""
        self._first, self._between = [], []

    def run(self, engine: Engine, requests: Sequence[Request]) -> list[int]:
        """Runs requests to their end; returns the number of new tokens of each."""
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

    def seconds(self) -> dict[str, Any]:
        """Seconds, as spreads over the runs.

        `first_token_seconds`: until a request's first token, the median over the requests.
        `step_seconds`: between two tokens of the request that started last. While it decodes, the
        whole batch decodes and no prompt is prefilled.
        """
        seconds = {"first_token_seconds": self._first, "step_seconds": self._between}
        return {name: spread(values) for name, values in seconds.items() if values}


def device_step_seconds(engine: Engine, work: Work) -> float:
    """Seconds of a decode step, on average, when nothing is done between the programs.

    The engine's own programs, with sequences as long as those of `work` become, called one after
    the other; the host neither reads tokens nor prepares anything for them.

    Args:
      work: requests of equal length, as many as the engine has slots.
    """
    state = DecodeState(engine.layout, engine.slots, 0)
    table = SlotTable(engine.slots, engine.config.vocab_size, engine.layout.upload)
    first = work.shared + work.prompt
    request = Request((0,) * first, SamplingParams(work.new))
    for slot in range(engine.slots):
        table.start(slot, request)
    batches = []
    for number in range(work.new):
        batches.append(table.batch())
        for slot in range(engine.slots):
            table.advance(slot, request, number + 1)
    state.fit(first + 1, empty=True)
    begun, tokens = 0.0, None
    for number, batch in enumerate(batches):
        if number == 1:  # the first step waits until the cache is allocated
            jax.block_until_ready(tokens)
            begun = time.perf_counter()
        state.fit(first + number + 1, empty=False)
        tokens, _ = state.sample(batch, 0)
        state.decode(engine.params, tokens, batch)
    jax.block_until_ready(state.sample(batches[-1], 0))
    return (time.perf_counter() - begun) / (work.new - 1)


def setup(asked: dict[str, Any]) -> Contender:
    """Args: `model`, a Hugging Face folder; `engine`, options of an `Engine`; `work`, fields of a
    `Work`; `static`, whether requests run in batches of `slots`, each until its longest is done;
    `brief`, how many of the requests meet all programs, 0 where a step is short; `host`, whether
    to report how much of a decode step the device waits for the host."""
    compilations, clock = CompilationCounter(), TokenTimer()
    loaded = load_model(asked["model"], "float32")
    engine = Engine(loaded.config, loaded.params, **asked["engine"])
    del loaded
    work, count = Work(**asked["work"]), 0

    def run(most: int) -> None:
        nonlocal count
        prompts = work.prompts(count, engine.config.vocab_size).tolist()
        requests = [
            Request(tuple(prompt), SamplingParams(length))
            for prompt, length in zip(prompts, work.lengths(), strict=True)
        ]
        count += 1
        for batch in batches(requests[:most], engine.slots if asked["static"] else most):
            made = clock.run(engine, batch)
            assert made == [request.sampling.max_tokens for request in batch]
        if count == 1:
            clock.clear()
            compilations.settle()

    def measured() -> dict[str, Any]:
        most = programs_at_most(engine.layout, asked["engine"]["part"])
        figures = {**clock.seconds(), "compilations": {**compilations.counts(), "at_most": most}}
        return {**figures, "host_share": spread(host_shares())} if asked["host"] else figures

    def host_shares() -> Iterator[float]:
        for _ in range(HOST_TRIES):
            clock.clear()
            run(work.requests)
            with_host = clock.seconds()["step_seconds"]["median"]
            yield 1 - device_step_seconds(engine, work) / with_host

    facts = {"jax": version("jax"), "device": jax.devices()[0].device_kind, **asked["engine"]}
    return Contender(
        lambda: run(work.requests),
        facts,
        brief=(lambda: run(asked["brief"])) if asked["brief"] else None,
        measured=measured,
    )


def batches(requests: Sequence[Request], size: int) -> Sequence[list[Request]]:
    """Requests that run together; in several batches, all of a batch are as long as its longest."""
    if size >= len(requests):
        return [list(requests)]
    parts = []
    for start in range(0, len(requests), size):
        batch = requests[start : start + size]
        longest = max(request.sampling.max_tokens for request in batch)
        parts.append([replace(request, sampling=SamplingParams(longest)) for request in batch])
    return parts


if __name__ == "__main__":
    serve(setup)
