"""DPO's reference, loss and gradient of one batch, with the config in a folder, on all devices.

    python -m tests.distributed.dpo_once FOLDER NAME

It needs a separate process, or several, because the number of devices is fixed when JAX starts.
"""

import os
import sys
from pathlib import Path

import jax
import numpy as np

from tests.train.gradients import mean_gradients
from vcjax.core.files import read_json
from vcjax.data.loader import in_order
from vcjax.data.prepared import open_prepared
from vcjax.parallel import is_main_process, make_mesh, replicated
from vcjax.train.config import TrainConfig
from vcjax.train.layout import local_rows, make_layout, shard_batch, shard_params
from vcjax.train.losses import make_loss
from vcjax.train.optim import make_optimizer
from vcjax.train.reference import with_reference
from vcjax.weights.load import load_model


def dpo_once(folder: Path, name: str, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    """Returns `reference`, `loss`, `count` and the leaves of the gradient; keeps the reference in
    `folder/NAME`."""
    config = TrainConfig.from_dict(read_json(folder / "config.json"))
    mesh, loaded = make_mesh(sizes), load_model(config.model, "float32")
    layout = make_layout(loaded.config, config, make_optimizer(config), mesh)
    params = shard_params(loaded.params, layout.trainable)
    datasets = {"pairs": open_prepared(folder / "pairs")}
    size = config.batch_size // config.microbatches
    rows = with_reference(
        datasets,
        folder / name,
        initial=lambda: params,
        graph=layout.graph,
        pairs=size,
        mesh=layout.mesh,
    )["pairs"]
    reference = np.stack([rows[n]["reference"] for n in range(len(rows))])

    count = config.batch_size
    _, batch = next(in_order(rows, count, local_rows(mesh, count)))
    batch["reference"] = batch["reference"] - np.float32([0, 3])  # so that margins aren't 0
    gradients = mean_gradients(layout, make_loss(config), config.microbatches)
    whole = jax.jit(gradients, out_shardings=replicated(mesh))
    means, terms, grads = whole(params, {}, shard_batch(batch, mesh, count))
    leaves = {str(n): np.asarray(leaf) for n, leaf in enumerate(jax.tree.leaves(grads))}
    found = {"reference": reference, "loss": means["loss"], "count": terms}
    return {name: np.asarray(value) for name, value in found.items()} | leaves


if __name__ == "__main__":
    if "JAX_COORDINATOR_ADDRESS" in os.environ:
        jax.distributed.initialize(
            num_processes=int(os.environ["PROCESSES"]), process_id=int(os.environ["PROCESS"])
        )
    place_of, name = Path(sys.argv[1]), sys.argv[2]
    result = dpo_once(place_of, name, {"data": 2, "fsdp": 2, "tensor": 2})
    if is_main_process():
        np.savez(place_of / f"{name}.npz", **result)
