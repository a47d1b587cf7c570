"""A training run's folder as a model: its last checkpoint, adapters merged into their base.

`config.json` is the run's configuration; `model/` holds the small files of the model that is being
trained; `sources.json` says what the run was made from; `checkpoints/` is Orbax's.
"""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from vcjax.foundation.errors import UserError
from vcjax.foundation.files import read_json, write_json
from vcjax.foundation.lineage import Parent
from vcjax.model.build import Params, shapes
from vcjax.model.config import LlamaConfig
from vcjax.model.lora import LoraConfig, merge_lora
from vcjax.text.tokenizer import load_tokenizer
from vcjax.weights.adapters import join, split_adapters
from vcjax.weights.bundle import GENERATION, Bundle, check_dtype, load_located
from vcjax.weights.resolve import resolve

CHECKPOINTS = "checkpoints"
MODEL = "model"
PARAMS = "params"
SOURCES = "sources.json"


def load_workdir(
    folder: str | os.PathLike, dtype: str | None = None, reference: str | None = None
) -> Bundle:
    """Loads the model of a training run, finished or not, as of its last checkpoint.

    Args:
      dtype: of the parameters in memory; None is the dtype in which the base model was stored.
      reference: how the user named the folder.

    Raises:
      UserError: no checkpoint yet, not a training run, or an adapter whose base has changed.
    """
    folder = Path(folder)
    small = folder / MODEL
    if not (small / "config.json").is_file():
        raise UserError(f"{folder}: no checkpoint of a training run in it yet")
    raw = read_json(small / "config.json")
    config = LlamaConfig.from_hf(raw)
    lora = read_json(folder / "config.json")["lora"]
    fields = ("rank", "alpha", "targets", "dropout")
    adapters = LoraConfig(*(lora[name] for name in fields)) if lora["rank"] else None
    trained = _read_trained(folder, config, adapters)
    if adapters is not None:
        # On the host: an accelerator needn't have room for the whole model in float32.
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            trained = merge_lora(join(trained, load_base(folder).params), adapters)
    held = check_dtype(dtype or raw["torch_dtype"])
    params = jax.tree.map(lambda leaf: np.asarray(leaf).astype(jnp.dtype(held)), trained)
    return Bundle(
        config,
        params,
        load_tokenizer(small),
        read_json(small / GENERATION),
        held,
        raw["torch_dtype"],
        Parent.of("model", folder, reference),
    )


def load_base(folder: Path) -> Bundle:
    """Loads, in float32, the model that the run in `folder` began with.

    Raises:
      UserError: it is gone, or isn't the one that the run began with.
    """
    source = next(parent for parent in read_sources(folder) if parent.role == "model")
    there = source.path if source.path and Path(source.path).exists() else None
    reference = there or source.reference
    base = load_located(resolve(reference), "float32")
    if base.origin.hash != source.hash:
        raise UserError(
            f"{base.origin.reference}: changed since {folder} was trained on top of it; "
            "its adapters fit the earlier model only"
        )
    return base


def read_sources(folder: Path) -> list[Parent]:
    """What a run was made from, as it was when the run began."""
    records, root = read_json(folder / SOURCES), folder.resolve()
    return [
        Parent(**{**each, "path": each["path"] and os.path.normpath(root / each["path"])})
        for each in records
    ]


def write_sources(folder: Path, parents: list[Parent]) -> None:
    """Writes the parents with paths relative to `folder`, so that a tree of runs can be moved."""
    root = folder.resolve()
    records = [
        {**asdict(parent), "path": parent.path and os.path.relpath(parent.path, root)}
        for parent in parents
    ]
    write_json(folder / SOURCES, records)


def _read_trained(folder: Path, config: LlamaConfig, lora: LoraConfig | None) -> Params:
    tree: Any = shapes(config, lora=lora)
    if lora is not None:
        tree, _ = split_adapters(tree)
    template = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), tree)
    options = ocp.CheckpointManagerOptions(create=False, enable_async_checkpointing=False)
    path = (folder / CHECKPOINTS).resolve()
    with ocp.CheckpointManager(path, options=options, item_names=(PARAMS,)) as manager:
        step = manager.latest_step()
        if step is None:
            raise UserError(
                f"{folder}: no checkpoint yet; the first comes after `checkpoint_every` steps"
            )
        args = ocp.args.Composite(**{PARAMS: ocp.args.StandardRestore(template)})
        return manager.restore(step, args=args)[PARAMS]
