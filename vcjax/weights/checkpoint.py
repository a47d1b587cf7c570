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
    """Reads the parameters, stacked, as numpy arrays of `dtype`.

    Raises:
      UserError: the parameters are incomplete or corrupt, or not those that `config` describes.
    """
    path = folder.resolve() / PARAMS
    if not path.is_dir():
        raise UserError(f"{folder}: no {PARAMS}/: the checkpoint is incomplete")
    tree = shapes(config)
    layer = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), tree)
    wanted = {**tree, "layers": {str(n): layer["layers"] for n in range(config.num_layers)}}
    restore = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
    with ocp.PyTreeCheckpointer() as checkpointer:
        try:
            stored = checkpointer.metadata(path).item_metadata
            if stored is None:
                raise UserError(f"{path}: incomplete or corrupt (Orbax finds no metadata)")
            _check(folder, stored.tree, wanted)
            found = checkpointer.restore(path, restore_args=restore)
        except (ValueError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{path}: incomplete or corrupt ({reason})") from None
    layers = [found["layers"][str(n)] for n in range(config.num_layers)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *layers)
    params = {**found, "layers": stacked}
    return jax.tree.map(lambda leaf: leaf.astype(jnp.dtype(dtype)), params)


def _check(folder: Path, stored: Params, wanted: Params) -> None:
    found, expected = _shapes(stored), _shapes(wanted)
    for name in sorted(found.keys() | expected.keys()):
        if name not in found:
            raise UserError(f"{folder}: {name!r} is missing from {PARAMS}/")
        if name not in expected:
            raise UserError(f"{folder}: {name!r} in {PARAMS}/ is not part of this model")
        if found[name] != expected[name]:
            raise UserError(
                f"{folder}: {name!r} has shape {found[name]}, the config says {expected[name]}"
            )


def _shapes(tree: Params) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    keystr = jax.tree_util.keystr
    return {keystr(path, simple=True, separator="."): tuple(leaf.shape) for path, leaf in leaves}


def _named(tree: Params) -> Params:
    return {**tree, "layers": {str(n): layer for n, layer in tree["layers"].items()}}
