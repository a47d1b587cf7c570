"""A training run's folder as a model: its last good checkpoint, or one that is named by its step.

Adapters are merged into their base, as the run held it: a base that was quantised (`lora.base`)
is quantised again, in the same way, and what its codes stand for is merged into. That is what
the adapters were trained on top of; the original weights would not fit them as well.

`config.json` is the run's configuration; `model/` holds the small files of the model that is being
trained; `sources.json` says what the run was made from; `checkpoints/` is Orbax's.
"""

import logging
from dataclasses import dataclass
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
from vcjax.model.quantised import quantise_base
from vcjax.parallel import leads
from vcjax.text.chat_settings import split_options
from vcjax.text.tokenizer import load_tokenizer
from vcjax.weights.adapters import join, split_adapters
from vcjax.weights.bundle import GENERATION, Bundle, check_dtype, load_located
from vcjax.weights.resolve import Located, resolve
from vcjax.weights.steps import META, PARAMS, check_tree, flaw, newest_good, step_folder
from vcjax.weights.stored import origin_of

MODEL = "model"
SOURCES = "sources.json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """What a checkpoint holds of the model, in float32.

    Attributes:
      config: static shape.
      lora: the adapters' settings; None where all parameters were trained.
      params: the adapters' leaves, or all of them.
      stored_dtype: dtype in which the base model was stored.
      origin: the run, or the checkpoint that was asked for, as a parent in a lineage.
    """

    config: LlamaConfig
    lora: LoraConfig | None
    params: Params
    stored_dtype: str
    origin: Parent


def read_trained(located: Located) -> Trained:
    """Reads what a training run has trained, finished or not.

    Args:
      located: a workdir; without a step it is the last checkpoint that is good, and those after it
        are reported.

    Raises:
      UserError: no good checkpoint, or not a training run.
    """
    folder, step = located.path, located.step
    if not (folder / MODEL / "config.json").is_file():
        raise UserError(f"{folder}: no checkpoint of a training run in it yet")
    raw = read_json(folder / MODEL / "config.json")
    config = LlamaConfig.from_hf(raw)
    lora = read_json(folder / "config.json")["lora"]
    adapters = LoraConfig(**lora) if lora["rank"] else None
    place = _last_good(folder) if step is None else _good(step_folder(folder, step))
    origin = origin_of(located, folder if step is None else place)
    params = _read_params(place, config, adapters)
    return Trained(config, adapters, params, raw["torch_dtype"], origin)


def load_workdir(located: Located, dtype: str | None = None) -> Bundle:
    """Loads the model of a training run; see `read_trained`.

    Args:
      dtype: of the parameters in memory; None is the dtype in which the base model was stored.

    Raises:
      UserError: nothing to read, or adapters whose base has changed.
    """
    folder, trained = located.path, read_trained(located)
    whole = trained.params
    if trained.lora is not None:
        # On the host: an accelerator needn't have room for the whole model in float32.
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            base = quantise_base(load_base(folder).params, trained.lora.base)
            whole = merge_lora(join(whole, base), trained.lora)
    held = check_dtype(dtype or trained.stored_dtype)
    params = jax.tree.map(lambda leaf: np.asarray(leaf).astype(jnp.dtype(held)), whole)
    return Bundle(
        trained.config,
        params,
        load_tokenizer(folder / MODEL),
        read_json(folder / MODEL / GENERATION),
        held,
        trained.stored_dtype,
        trained.origin,
    )


def load_base(folder: Path) -> Bundle:
    """Loads, in float32, the model that the run in `folder` began with.

    Raises:
      UserError: it is gone, or isn't the one that the run began with.
    """
    source = next(parent for parent in read_sources(folder) if parent.role == "model")
    there = source.path if source.path and Path(source.path).exists() else None
    reference = there or split_options(source.reference)[0]
    base = load_located(resolve(reference), "float32")
    if leads() and base.origin.hash != source.hash:
        raise UserError(
            f"{base.origin.reference}: changed since {folder} was trained on top of it; "
            "its adapters fit the earlier model only"
        )
    return base


def read_sources(folder: Path) -> list[Parent]:
    """What a run was made from, as it was when the run began."""
    return [Parent.from_record(each, folder) for each in read_json(folder / SOURCES)]


def as_begun(reference: str, folder: Path) -> str:
    """A hub id at the commit with which the run in `folder` began; else the reference itself.

    So a run goes on with the model that it has, whatever its repository has become.
    """
    if (folder / SOURCES).is_file():
        model, options = split_options(reference)
        name = model.partition("@")[0]
        for parent in read_sources(folder):
            begun = split_options(parent.reference)[0]
            of_hub = parent.role == "model" and parent.files is not None
            if of_hub and begun.partition("@")[0] == name:
                return begun + options
    return reference


def write_sources(folder: Path, parents: list[Parent]) -> None:
    """Writes the parents with paths relative to `folder`, so that a tree of runs can be moved."""
    write_json(folder / SOURCES, [parent.to_record(folder) for parent in parents])


def _good(place: Path) -> Path:
    if (reason := _model_flaw(place)) is not None:
        raise UserError(reason)
    return place


def _last_good(folder: Path) -> Path:
    step, flawed = newest_good(folder, _model_flaw)
    if step is None:
        raise UserError(
            f"{folder}: no checkpoint yet; the first comes after `checkpoint_every` steps"
        )
    for reason in flawed.values():
        _log.warning("%s; step %d is used instead", reason, step)
    return step_folder(folder, step)


def _model_flaw(place: Path) -> str | None:
    """What is wrong with a checkpoint, as far as the model goes: the optimiser isn't read."""
    return flaw(place, lambda name: name == META or name.startswith(f"{PARAMS}/"))


def _read_params(place: Path, config: LlamaConfig, lora: LoraConfig | None) -> Params:
    tree: Any = shapes(config, lora=lora)
    if lora is not None:
        tree, _ = split_adapters(tree)
    check_tree(place / PARAMS, tree)
    on_host = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
    with ocp.PyTreeCheckpointer() as reader:
        return reader.restore(place.resolve() / PARAMS, restore_args=on_host)
