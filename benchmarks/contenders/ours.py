"""Our training step, `vcjax.train.step`."""

from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.serve import Contender, peak_resident, serve
from benchmarks.workload import token_batches
from vcjax.model.attention.packed import choose_backend
from vcjax.model.build import NAMED, Params, initialise
from vcjax.model.config import LlamaConfig
from vcjax.model.lora import split_adapters
from vcjax.parallel import make_mesh
from vcjax.train.config import TrainConfig
from vcjax.train.layout import (
    Layout,
    init_adapters,
    make_layout,
    shard_batch,
    shard_params,
    sharding_of,
)
from vcjax.train.losses import make_loss
from vcjax.train.optim import make_optimizer, make_schedule
from vcjax.train.step import make_step
from vcjax.train.throughput import run_flops
from vcjax.weights.load import load_model


def setup(asked: dict[str, Any]) -> Contender:
    """Args: `config` of `TrainConfig`; its model may be one of NAMED, with random weights."""
    config = TrainConfig.from_dict(asked["config"])
    mesh = make_mesh(asked["config"]["mesh"])
    optimizer, schedule = make_optimizer(config), make_schedule(config)
    if config.model in NAMED:
        model = NAMED[config.model]
        layout = make_layout(model, config, optimizer, mesh)
        trainable, frozen = _random(model, config, layout)
    else:
        loaded = load_model(config.model, "float32")
        model = loaded.config
        layout = make_layout(model, config, optimizer, mesh)
        trainable, frozen = shard_params(loaded.params, layout.trainable), {}
        del loaded  # the host's copy of the model
    state = jax.jit(optimizer.init, out_shardings=sharding_of(layout.optimizer))(trainable)
    loss = make_loss(config)
    step = make_step(layout, loss, optimizer, schedule, config.microbatches)
    batches = map(_one_segment_a_row, token_batches(asked["config"], model.vocab_size))
    count = 0

    def run() -> float:
        nonlocal trainable, state, count
        batch = shard_batch(next(batches), mesh, config.batch_size)
        trainable, state, measured = step(trainable, state, frozen, batch, jnp.int32(count))
        count += 1
        return measured["loss"].item()

    device = jax.devices()[0]
    mesh = mesh
    backend = choose_backend(config.attention, model, config.dtype, mesh, config.length)
    facts = {
        "jax": version("jax"),
        "device": device.device_kind,
        "attention": backend,
        "remat": config.remat,
        "flops_per_step": run_flops(model, config),
    }
    return Contender(run, facts, _peak)


def _random(model: LlamaConfig, config: TrainConfig, layout: Layout) -> tuple[Params, Params]:
    """(trainable, frozen) parameters, made on their devices; frozen ones never in float32."""

    def make(dtype: str) -> Params:
        return initialise(model, config.seed, lora=config.adapters, param_dtype=jnp.dtype(dtype))

    if not config.lora.rank:
        trainable = jax.jit(lambda: make("float32"), out_shardings=sharding_of(layout.trainable))()
        return trainable, {}
    shardings = sharding_of(layout.frozen)
    frozen = jax.jit(lambda: split_adapters(make(config.dtype))[1], out_shardings=shardings)()
    return init_adapters(model, config, layout.trainable), frozen


def _one_segment_a_row(tokens: np.ndarray) -> dict[str, np.ndarray]:
    mask = np.ones(tokens.shape, np.bool_)
    mask[:, 0] = False  # no token predicts the first
    order = np.arange(tokens.shape[1], dtype=np.int32)
    return {
        "tokens": tokens,
        "loss_mask": mask,
        "segment_ids": np.ones(tokens.shape, np.int32),
        "positions": np.broadcast_to(order, tokens.shape),
    }


def _peak() -> int:
    """Bytes, on the device where it counts them."""
    counted = jax.local_devices()[0].memory_stats()
    return peak_resident() if counted is None else counted["peak_bytes_in_use"]


if __name__ == "__main__":
    serve(setup)
