"""Our engine on requests of random ids, greedily: together, or in static batches."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import jax

from benchmarks.generate_host import device_step_seconds
from benchmarks.generate_watch import Clock, Compilations, programs_at_most
from benchmarks.generate_work import Work
from benchmarks.rounds import spread
from benchmarks.serve import Contender, serve
from vcjax.generate.engine import Engine
from vcjax.generate.requests import Request, SamplingParams
from vcjax.weights.bundle import load_bundle

HOST_TRIES = 3


def setup(asked: dict[str, Any]) -> Contender:
    """Args: `model`, a Hugging Face folder; `engine`, options of an `Engine`; `work`, fields of a
    `Work`; `static`, whether requests run in batches of `slots`, each until its longest is done;
    `brief`, how many of the requests meet all programs, 0 where a step is short; `host`, whether
    to tell how much of a decode step the device waits for the host."""
    compilations, clock = Compilations(), Clock()
    bundle = load_bundle(asked["model"], "float32")
    engine = Engine(bundle.config, bundle.params, **asked["engine"])
    del bundle
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
        told = {**clock.told(), "compilations": {**compilations.told(), "at_most": most}}
        return {**told, "host_share": spread(host_shares())} if asked["host"] else told

    def host_shares() -> Iterator[float]:
        for _ in range(HOST_TRIES):
            clock.clear()
            run(work.requests)
            with_host = clock.told()["step_seconds"]["median"]
            yield 1 - device_step_seconds(engine, work) / with_host

    facts = {"jax": version("jax"), "device": jax.devices()[0].device_kind, **asked["engine"]}
    return Contender(
        lambda: run(work.requests),
        facts,
        brief=(lambda: run(asked["brief"])) if asked["brief"] else None,
        measured=measured,
    )


def batches(requests: Sequence[Request], size: int) -> Sequence[list[Request]]:
    """Requests that run together: of several batches, each as long as its longest."""
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
