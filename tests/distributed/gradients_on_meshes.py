r"""Prints, as JSON, how far loss and gradient on meshes of 8 virtual devices are from those on one.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 \
        python -m tests.distributed.gradients_on_meshes

It needs a separate process, because the number of devices is fixed when JAX starts.
"""

import json

import jax
import numpy as np

from tests.train.gradients import mean_gradients
from vcjax.core.defaults import training_config
from vcjax.model.build import initialise
from vcjax.model.config import LlamaConfig
from vcjax.model.rope import RopeConfig
from vcjax.parallel import make_mesh, replicated
from vcjax.train.config import TrainConfig
from vcjax.train.layout import make_layout, shard_batch, shard_params
from vcjax.train.losses import make_loss
from vcjax.train.optim import make_optimizer

MESHES = (
    {"data": 8},
    {"fsdp": 8},
    {"data": 2, "fsdp": 4},
    {"fsdp": 2, "tensor": 4},
    {"data": 2, "fsdp": 2, "tensor": 2},
    {"fsdp": 4, "sequence": 2},
    {"fsdp": 2, "tensor": 2, "sequence": 2},
    {"data": 2, "sequence": 4},
)
MODEL = LlamaConfig(
    architecture="LlamaForCausalLM",
    vocab_size=264,
    hidden_size=32,
    intermediate_size=64,
    num_layers=2,
    num_heads=8,
    num_kv_heads=4,
    head_dim=4,
    max_position=64,
    rms_norm_eps=1e-5,
    rope=RopeConfig(original_max_position=64),
    eos_ids=(0,),
)
ROWS, LENGTH = 16, 32


def batch() -> dict[str, np.ndarray]:
    """Rows of two segments and padding, with uneven masks."""
    rng = np.random.default_rng(0)
    ends = np.sort(rng.integers(4, LENGTH + 1, (ROWS, 2)), axis=1)[..., None]
    order = np.arange(LENGTH)
    segments = np.where(order < ends[:, 0], 1, np.where(order < ends[:, 1], 2, 0))
    return {
        "tokens": (rng.integers(1, 264, (ROWS, LENGTH)) * (segments > 0)).astype(np.int32),
        "loss_mask": (rng.random((ROWS, LENGTH)) < rng.random((ROWS, 1))) & (segments > 0),
        "segment_ids": segments.astype(np.int32),
        "positions": np.where(segments == 2, order - ends[:, 0], order).astype(np.int32),
    }


def measure(sizes: dict[str, int], microbatches: int) -> tuple[float, list[np.ndarray], float]:
    """Loss, leaves of the gradient and the largest share of a matrix that a device holds."""
    values = training_config("cpt").to_dict() | {
        "documents": "x",
        "batch_size": ROWS,
        "length": LENGTH,
    }
    values["lora"]["rank"] = 0
    config = TrainConfig.from_dict(values)
    mesh = make_mesh(sizes, jax.devices()[: int(np.prod(list(sizes.values())))])
    layout = make_layout(MODEL, config, make_optimizer(config), mesh)
    params = shard_params(jax.jit(lambda: initialise(MODEL, 7))(), layout.trainable)
    gate = params["layers"]["gate"]["kernel"]
    held = gate.addressable_shards[0].data.nbytes / gate.nbytes
    gradients = mean_gradients(layout, make_loss(config), microbatches)
    whole = jax.jit(gradients, out_shardings=replicated(mesh))
    means, _, grads = whole(params, {}, shard_batch(batch(), mesh, ROWS))
    return float(means["loss"]), [np.asarray(leaf) for leaf in jax.tree.leaves(grads)], held


def main() -> None:
    loss, grads, _ = measure({"data": 1}, 1)
    report = []
    for sizes in MESHES:
        here, there, held = measure(sizes, 2)
        apart = max(float(np.abs(a - b).max()) for a, b in zip(grads, there, strict=True))
        report.append({"mesh": sizes, "loss": abs(here - loss), "gradient": apart, "held": held})
    largest = max(float(np.abs(leaf).max()) for leaf in grads)
    print(json.dumps({"loss": loss, "largest": largest, "meshes": report}))


if __name__ == "__main__":
    main()
