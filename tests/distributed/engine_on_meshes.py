r"""Prints, as JSON, the engine's output on meshes of 8 virtual devices and on one device.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 \
        python -m tests.distributed.engine_on_meshes
"""

import json
from dataclasses import replace

import jax
import numpy as np

from tests.distributed.gradients_on_meshes import MODEL as SHORT
from tests.tiny import tiny_model
from vcjax.core.errors import UserError
from vcjax.generate import programs
from vcjax.generate.cache import DecodeState
from vcjax.generate.engine import Engine
from vcjax.generate.engine_config import EngineConfig
from vcjax.generate.requests import Request, SamplingParams
from vcjax.model.build import initialise
from vcjax.parallel import make_mesh

MESHES = ({"tensor": 8}, {"tensor": 2}, {"data": 2, "tensor": 4}, {"fsdp": 2, "tensor": 2})
SLOTS = 4
MODEL = replace(SHORT, max_position=128)  # with room for a block that prompts share


def requests() -> list[Request]:
    """More requests than slots; two share a beginning of a block."""
    rng = np.random.default_rng(0)
    first = rng.integers(1, 264, 80).tolist()
    begin = tuple(first[:70])
    drawn = [
        Request(tuple(rng.integers(1, 264, 5 + n)), SamplingParams(8, temperature=1.0, seed=n))
        for n in range(4)
    ]
    return [
        Request(tuple(first), SamplingParams(8)),
        *drawn,
        Request((*begin, 7, 9), SamplingParams(8)),
    ]


def told(engine: Engine) -> dict:
    results = engine.generate(requests())
    again = engine.generate(requests())
    assert [one.tokens for one in again] == [one.tokens for one in results]
    return {
        "tokens": [list(map(int, result.tokens)) for result in results],
        "logprobs": [list(result.logprobs) for result in results],
    }


def _used(state: DecodeState) -> int:
    """Bytes on all devices; logits and counts once, as the plan counts them."""
    leaves = jax.tree.leaves([state._cache, state._pool])
    cached = sum(shard.data.nbytes for leaf in leaves for shard in leaf.addressable_shards)
    return cached + state._logits.nbytes + state._counts.nbytes


def _norm(engine: Engine) -> jax.sharding.Sharding:
    return engine.params["norm"]["weight"].sharding


def main() -> None:
    params = jax.tree.map(np.asarray, initialise(MODEL, 3))
    params["embedding"] = params["embedding"] * 10
    report = {"alone": told(Engine(MODEL, params, slots=SLOTS)), "meshes": []}
    for sizes in MESHES:
        count = int(np.prod(list(sizes.values())))
        mesh = make_mesh(sizes, jax.devices()[:count])
        before = programs.decode._cache_size()
        engine = Engine(MODEL, params, slots=SLOTS, mesh=mesh)
        kernel = engine.params["layers"][0]["gate"]["kernel"]
        report["meshes"].append(
            {
                **told(engine),
                "share": kernel.addressable_shards[0].data.size / kernel.size,
                "planned": engine._state.planned_bytes(engine._state.context)
                / _used(engine._state),
                "compiled": programs.decode._cache_size() - before,
            }
        )
    mesh = make_mesh({"tensor": 2}, jax.devices()[:2])
    paged = Engine(MODEL, params, slots=SLOTS, mesh=mesh, pages=True)
    report["paged"] = told(paged)
    pages = paged._state._cache[0]
    report["paged"]["share"] = pages.addressable_shards[0].data.size / pages.size
    try:
        Engine(MODEL, params, slots=SLOTS, mesh=make_mesh({"data": 8}), row_buckets=True)
    except UserError as error:
        report["refused"] = str(error)
    loaded, asked = tiny_model(), [Request((5, 6, 7), SamplingParams(8))]
    engines = [EngineConfig(slots=2, tensor=tensor).engine(loaded) for tensor in (1, 2)]
    report["shared"] = [
        {"tokens": engine.generate(asked)[0].tokens, "devices": len(_norm(engine).device_set)}
        for engine in engines
    ]
    print(json.dumps(report))


if __name__ == "__main__":
    main()
