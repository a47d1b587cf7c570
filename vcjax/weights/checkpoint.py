"""A vcjax checkpoint folder: Orbax parameters beside the same small files as an HF folder.

The parameters are saved one leaf a layer, so that neither writing nor reading holds a stacked
projection twice.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from vcjax.foundation.errors import UserError
from vcjax.foundation.files import write_json
from vcjax.model.build import Params, shapes
from vcjax.model.config import LlamaConfig
from vcjax.model.llama import unstack
from vcjax.weights.resolve import CHECKPOINT_MARK

PARAMS = "params"


def write_params(folder: Path, params: Params, config: LlamaConfig, dtype: str) -> None:
    """Writes `config.json`, the mark of a checkpoint and the parameters in `dtype`."""
    cast = jax.tree.map(lambda leaf: np.asarray(leaf).astype(jnp.dtype(dtype)), params)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder.resolve() / PARAMS, _named(unstack(cast)))
    write_json(folder / "config.json", config.to_hf(dtype))
    write_json(folder / CHECKPOINT_MARK, {"format": 1, "dtype": dtype})


def read_params(folder: Path, config: LlamaConfig, dtype: Any) -> Params:
    """Reads the parameters, stacked, as numpy arrays of `dtype`."""
    tree = shapes(config)
    flat = {**tree, "layers": dict.fromkeys(range(config.num_layers), None)}
    for layer in flat["layers"]:
        flat["layers"][layer] = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), tree["layers"]
        )
    wanted = jax.tree.map(lambda leaf: np.empty((0,), jnp.dtype(dtype)), _named(flat))
    restore = jax.tree.map(lambda leaf: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
    path = folder.resolve() / PARAMS
    if not path.is_dir():
        raise UserError(f"{folder}: no {PARAMS}/: the checkpoint is incomplete")
    with ocp.PyTreeCheckpointer() as checkpointer:
        found = checkpointer.restore(path, item=wanted, restore_args=restore)
    layers = [found["layers"][str(n)] for n in range(config.num_layers)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *layers)
    params = {**found, "layers": stacked}
    for (path, leaf), want in zip(
        jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(tree), strict=True
    ):
        if leaf.shape != want.shape:
            name = jax.tree_util.keystr(path)
            raise UserError(f"{folder}: {name} is {leaf.shape}, the config says {want.shape}")
    return jax.tree.map(lambda leaf: leaf.astype(jnp.dtype(dtype)), params)


def _named(tree: Params) -> Params:
    return {**tree, "layers": {str(n): layer for n, layer in tree["layers"].items()}}
