"""Prints, as JSON, how far each optimiser's updates on 8 virtual devices are from those on one.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m tests.train.optimizers_on_meshes F

`F` is a folder with `model.json` and `config.json`. It needs a separate process, because the number
of devices is fixed when JAX starts.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from tests.train.cheap import cheap_batch, cheap_loss
from vcjax.core.files import read_json
from vcjax.model.config import LlamaConfig
from vcjax.parallel import make_mesh
from vcjax.train.config import OPTIMIZERS, TrainConfig
from vcjax.train.layout import Layout, make_layout, shard_batch, shard_params, sharding_of
from vcjax.train.optim import make_optimizer, make_schedule
from vcjax.train.step import make_step

LARGE = 1000
"""Elements of a leaf that mustn't be whole on every device."""


def main(folder: Path) -> None:
    model = LlamaConfig.from_hf(read_json(folder / "model.json"))
    config = TrainConfig.from_dict(read_json(folder / "config.json"))
    eight = make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
    one = make_mesh({}, jax.devices()[:1])
    report = {}
    for name in OPTIMIZERS:
        run = replace(config, optimizer=name)
        (alone, _), _ = trained(model, run, one)
        (params, state), layout = trained(model, run, eight)
        (offloaded, held), plan = trained(model, replace(run, offload=True), eight)
        report[name] = {
            "difference": furthest(params, alone),
            "offload_difference": furthest(offloaded, params),
            "lies_as_planned": sharding_of((params, state))
            == sharding_of((layout.trainable, layout.optimizer)),
            "whole": [
                jax.tree_util.keystr(path)
                for path, leaf in jax.tree_util.tree_leaves_with_path(state)
                if leaf.size > LARGE and leaf.sharding.is_fully_replicated
            ],
            "kinds": sorted({leaf.sharding.memory_kind for leaf in jax.tree.leaves(held)}),
            "kept_in_place": sharding_of(held) == sharding_of(plan.optimizer),
            "on_device": sorted(
                {
                    leaf.shape
                    for leaf in jax.tree.leaves(held)
                    if leaf.sharding.memory_kind == "device" and leaf.size > LARGE
                }
            ),
        }
    print(json.dumps(report))


def trained(model: LlamaConfig, config: TrainConfig, mesh: jax.sharding.Mesh):
    """(Parameters and state after two steps, the layout)."""
    optimizer = make_optimizer(config)
    layout = make_layout(model, config, optimizer, mesh)
    params = shard_params(random(layout), layout.trainable)
    state = jax.jit(optimizer.init, out_shardings=sharding_of(layout.optimizer))(params)
    step = make_step(layout, cheap_loss, optimizer, make_schedule(config), 1)
    for count in range(2):
        batch = shard_batch(cheap_batch(rows=8), mesh, 8)
        params, state, _ = step(params, state, {}, batch, jnp.int32(count))
    return (params, state), layout


def random(layout: Layout):
    """Parameters whose gradients are nowhere near 0, where a sign would turn on the last bit."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.uniform(0.0, 0.4, leaf.shape), layout.trainable)


def furthest(one, other) -> float:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max(float(np.max(np.abs(np.asarray(a) - np.asarray(b)))) for a, b in pairs)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
