r"""Prints, as JSON, what an engine on each of 8 virtual devices does beside one engine alone.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 \
        python -m tests.distributed.engine_copies BASE ADAPTERS

BASE is a model, and ADAPTERS a run that trained adapters of it.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

import vcjax
from vcjax.generate import scoring
from vcjax.generate.engine import Engine
from vcjax.generate.engine_config import EngineConfig
from vcjax.generate.fleet import Fleet
from vcjax.generate.model_pool import ModelPool
from vcjax.generate.requests import Request, SamplingParams
from vcjax.generate.service import Service
from vcjax.serve.models import Scorer
from vcjax.weights.load import load_model

SLOTS = 2


def requests(number: int = 24) -> list[Request]:
    """Requests of several lengths and temperatures; no prompt is a prefix of another."""
    rng = np.random.default_rng(0)
    return [
        Request(
            tuple(rng.integers(100, 700, 5 + n).tolist()),
            SamplingParams(6 + n % 5, temperature=float(n % 2), seed=n),
        )
        for n in range(number)
    ]


def pooled(base: str, adapters: str) -> dict:
    """Whether adapters share their base's arrays on each device."""
    pool = ModelPool(EngineConfig(slots=SLOTS, context=128, dtype="float32", replicas=2))
    first, second = (pool.get(each).text.engine.engines for each in (base, adapters))
    pairs = zip(first, second, strict=True)
    plan = pool.plan()
    return {
        "shared": [one.params["embedding"] is other.params["embedding"] for one, other in pairs],
        "share_of_weights": plan[1].weights / plan[0].weights,
    }


def served(alone: Engine, fleet: Engine | Fleet) -> dict:
    """Whether a server's scores are those of one engine, and how many devices made them."""
    rng = np.random.default_rng(1)
    prompts = [tuple(rng.integers(100, 700, 200 + n).tolist()) for n in range(160)]
    used, own = set(), scoring.score_batch

    def watched(*arguments: Any, **options: Any) -> Any:
        results = own(*arguments, **options)
        used.add(results[0].device)
        return results

    def scores(engines: Engine | Fleet) -> list:
        with Service(engines) as service:
            service.wait_ready()
            return asyncio.run(Scorer(service).score(prompts, 2))

    expected = scores(alone)
    scoring.score_batch = watched
    try:
        return {"equal": scores(fleet) == expected, "devices": len(used)}
    finally:
        scoring.score_batch = own


def scored(alone: Engine, engines: Sequence[Engine]) -> dict:
    """Whether all copies together score as one does, and how many of them did."""
    sequences = [(request.prompt, 2) for request in requests(48)]  # more batches than devices
    used, own = set(), scoring.score_batch

    def watched(*arguments: Any, **options: Any) -> Any:
        results = own(*arguments, **options)
        used.add(results[0].device)
        return results

    expected = scoring.score(alone.graph, alone.params, sequences, top=2, token_budget=64)
    scoring.score_batch = watched
    first, *others = engines
    copies = [each.params for each in others]
    found = scoring.score(
        first.graph, first.params, sequences, top=2, token_budget=64, copies=copies
    )
    return {"equal": found == expected, "devices": len(used)}


def from_python(base: str) -> dict:
    """Whether `vcjax.load` with two copies gives what it gives with one."""
    one, two = vcjax.load(base), vcjax.load(base, replicas=2)
    texts = [f"{n} and {n + 1} are" for n in range(12)]
    sampling = {"max_tokens": 6, "temperature": 1.0, "seed": 3}
    answers = [[" two", " one more"]] * len(texts)
    in_parts = {"token_budget": 64}  # more batches than copies
    return {
        "devices": len({each["embedding"].device for each in (two.params, *two.copies)}),
        "texts": two.generate(texts, **sampling) == one.generate(texts, **sampling),
        "answers": two.score_answers(texts, answers, **in_parts)
        == one.score_answers(texts, answers, **in_parts),
        "pairs": two.log_likelihood(texts, [" two"] * 12)
        == one.log_likelihood(texts, [" two"] * 12),
    }


def main(base: str, adapters: str) -> None:
    loaded = load_model(base)
    alone = EngineConfig(slots=SLOTS, replicas=1).engine(loaded, prefix_tokens=0)
    fleet = EngineConfig(slots=SLOTS).engine(loaded, prefix_tokens=0)
    expected, results = alone.generate(requests()), fleet.generate(requests())
    report = {
        "alone": len(alone.engines),
        "devices": len({engine.params["embedding"].device for engine in fleet.engines}),
        "equal": [one == other for one, other in zip(results, expected, strict=True)],
        "requests": [engine.stats().requests for engine in fleet.engines],
    }
    fleet.release()
    report["served"] = served(alone.engines[0], fleet)
    report["scored"] = scored(alone.engines[0], fleet.engines)
    report["pooled"] = pooled(base, adapters)
    report["from_python"] = from_python(base)
    report["local"] = jax.local_device_count()
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
