"""A training run's folder as a model: its last good checkpoint, or one that is named by its step.

`config.json` is the run's configuration; `model/` has the small files of the model that is being
trained; `sources.json` records what the run was made from; `checkpoints/` is Orbax's.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from vcjax.core.errors import UserError
from vcjax.core.files import read_json, write_json
from vcjax.core.lineage import Parent
from vcjax.core.stores import absolute, check_for_checkpoints
from vcjax.model.build import Params, shapes
from vcjax.model.config import LlamaConfig
from vcjax.model.lora import LEAVES, LoraConfig, merge_lora, split_adapters
from vcjax.model.quantised import dequantise, quantise
from vcjax.text.chat_settings import split_options
from vcjax.weights.mapping import Bounds, ParamsSource, Source, StackedSource, WholeSource
from vcjax.weights.model import origin_of
from vcjax.weights.resolve import Located
from vcjax.weights.steps import META, PARAMS, check_tree, flaw, newest_good, step_folder

MODEL = "model"
SOURCES = "sources.json"

_log = logging.getLogger(__name__)
_verified: ContextVar[dict[str, int] | None] = ContextVar("_verified", default=None)
"""The last good step by folder; None where each opening verifies it anew."""


@dataclass(frozen=True)
class Trained:
    """The model in a checkpoint of a run, in float32.

    Attributes:
      config: static shape.
      lora: the adapters' settings; None where all parameters were trained.
      folder: the checkpoint.
      stored_dtype: dtype in which the base model was stored.
      origin: the run, or the checkpoint that was asked for, as a parent in a lineage.
    """

    config: LlamaConfig
    lora: LoraConfig | None
    folder: Path
    stored_dtype: str
    origin: Parent

    @property
    def path(self) -> Path:
        """The folder in which Orbax has the parameters."""
        return absolute(self.folder) / PARAMS

    @cached_property
    def params(self) -> Params:
        """The adapters' leaves, or all parameters, read into the memory of this host."""
        tree: Any = shapes(self.config, lora=self.lora)
        if self.lora is not None:
            tree, _ = split_adapters(tree)
        check_tree(self.path, tree)
        on_host = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        with ocp.PyTreeCheckpointer() as reader:
            return reader.restore(self.path, restore_args=on_host)


def read_trained(located: Located) -> Trained:
    """Finds what a training run has trained, finished or not.

    Args:
      located: a workdir; without a step it is the last checkpoint that is good, and those after it
        are reported.

    Raises:
      UserError: no good checkpoint, or not a training run; or it is in a store that Orbax doesn't
        read.
    """
    folder, step = located.path, located.step
    check_for_checkpoints(folder)
    if not (folder / MODEL / "config.json").is_file():
        raise UserError(f"{folder}: no checkpoint of a training run in it yet")
    raw = read_json(folder / MODEL / "config.json")
    config = LlamaConfig.from_hf(raw)
    lora = read_json(folder / "config.json")["lora"]
    adapters = LoraConfig(**lora) if lora["rank"] else None
    checkpoint = step_folder(folder, _last_good(folder) if step is None else _good(folder, step))
    return Trained(
        config=config,
        lora=adapters,
        folder=checkpoint,
        stored_dtype=raw["torch_dtype"],
        origin=origin_of(located, folder if step is None else checkpoint),
    )


class TrainedSource(WholeSource, StackedSource):
    """The parameters of a run that trained all of them."""

    def __init__(self, trained: Trained) -> None:
        super().__init__(trained.config)
        self._trained = trained

    def tensor(self, name: str) -> np.ndarray:
        """One tensor, float32; the first one reads them all."""
        return self._in_memory.tensor(name)

    def onto(self, layout: Params) -> Params:
        """Reads the parameters onto a mesh: each process reads its devices' shards."""
        check_tree(self._trained.path, shapes(self._trained.config))
        where = jax.tree.map(
            lambda leaf: ocp.ArrayRestoreArgs(dtype=leaf.dtype, sharding=leaf.sharding), layout
        )
        with ocp.PyTreeCheckpointer() as reader:
            return reader.restore(self._trained.path, restore_args=where)

    @cached_property
    def _in_memory(self) -> ParamsSource:
        return ParamsSource(self._trained.params, self._trained.config)


class AdaptedSource(WholeSource):
    """A base with a run's adapters merged into it, float32; only the adapters are in memory.

    A base that was quantised (`lora.base`) is quantised again; see `vcjax.weights.load`.
    """

    def __init__(self, base: Source, trained: Trained) -> None:
        """Reads the adapters.

        Args:
          base: tensors of the model that the run began with.
        """
        super().__init__(trained.config)
        assert trained.lora is not None
        self._base, self._lora, self._layers = base, trained.lora, trained.params["layers"]

    def tensor(self, name: str) -> np.ndarray:
        """Reads one tensor, adapted."""
        return self.part(name, tuple((0, size) for size in self.shape(name)))

    def part(self, name: str, bounds: Bounds) -> np.ndarray:
        """Reads what is between `bounds` of one tensor, adapted."""
        location = self._locations[name]
        if location.projection is None:
            return self._base.part(name, bounds).astype(np.float32)
        # Bounds are the tensor's, [outputs, inputs]; kernels and adapters are [inputs, outputs].
        (top, bottom), (left, right) = bounds
        # On the host: an accelerator needn't have room for the whole model in float32.
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            kernel = self._kernel(name, bounds)
            if location.projection in self._layers:
                adapter = self._layers[location.projection]
                a, b = (adapter[leaf][location.layer] for leaf in LEAVES)
                whole = {"kernel": kernel, "lora_a": a[left:right], "lora_b": b[:, top:bottom]}
                kernel = merge_lora(whole, self._lora)["kernel"]
            return np.asarray(kernel).T

    def _kernel(self, name: str, bounds: Bounds) -> Any:
        """[inputs, outputs] of a projection, as the run had it."""
        form, (rows, (left, right)) = self._lora.base, bounds
        if not form:
            return self._base.part(name, bounds).astype(np.float32).T
        # Quantised whole, and cut afterwards: a block's scale is the largest magnitude of all its
        # inputs.
        every = (0, self.shape(name)[1])  # the inputs of an output share scales
        kernel = self._base.part(name, (rows, every)).astype(np.float32).T
        return _restored(kernel, form)[left:right]


@partial(jax.jit, static_argnames=("form",))
def _restored(kernel: Any, form: str) -> Any:
    """The kernel [inputs, outputs] after it was quantised and dequantised."""
    made = quantise(kernel, form, 1)
    return dequantise(made["codes"], made["scales"])


def read_sources(folder: Path, home: Path | None = None) -> list[Parent]:
    """What a run was made from, as it was when the run began.

    Args:
      home: the workdir, where `folder` is only the spool of it.
    """
    return [Parent.from_record(each, home or folder) for each in read_json(folder / SOURCES)]


def as_begun(reference: str, folder: Path, role: str = "model") -> str:
    """A hub id at the commit with which the run in `folder` began; else the reference itself.

    So a run continues with the weights that it began with, whatever was pushed to the repository
    since.

    Args:
      folder: a run of any script; one that hasn't begun has no sources yet.
      role: of the model in the run.
    """
    if (folder / SOURCES).is_file():
        model, options = split_options(reference)
        name = model.partition("@")[0]
        for parent in read_sources(folder):
            begun = split_options(parent.reference)[0]
            of_hub = parent.role == role and parent.files is not None
            if of_hub and begun.partition("@")[0] == name:
                return begun + options
    return reference


def write_sources(folder: Path, parents: list[Parent], home: Path | None = None) -> None:
    """Writes the parents that a run begins with, unless an earlier start of it has.

    Their paths are relative to the workdir, so that a tree of runs can be moved.

    Args:
      home: see `read_sources`.
    """
    # What the first start wrote stays: later ones compare what they find with it.
    if (folder / SOURCES).is_file():
        return
    write_json(folder / SOURCES, [parent.to_record(home or folder) for parent in parents])


@contextmanager
def verified_once(steps: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Within it a run's checkpoint is verified only the first time that its model is opened.

    Verifying hashes all of a checkpoint, so of several processes one does it and sends the others
    what it has found.

    Args:
      steps: the result of an earlier block.

    Yields:
      The last good step, by folder, of all runs whose models have been opened.
    """
    known = dict(steps)
    token = _verified.set(known)
    try:
        yield known
    finally:
        _verified.reset(token)


def _good(folder: Path, step: int) -> int:
    checkpoint, known = step_folder(folder, step), _verified.get()
    if known is not None and str(checkpoint) in known:
        return step
    if (reason := _model_flaw(checkpoint)) is not None:
        raise UserError(reason)
    if known is not None:
        known[str(checkpoint)] = step
    return step


def _last_good(folder: Path) -> int:
    known = _verified.get()
    if known is not None and str(folder) in known:
        return known[str(folder)]
    step, flawed = newest_good(folder, _model_flaw)
    if step is None:
        raise UserError(
            f"{folder}: no checkpoint yet; the first comes after `checkpoint_every` steps"
        )
    for reason in flawed.values():
        _log.warning("%s; step %d is used instead", reason, step)
    if known is not None:
        known[str(folder)] = step
    return step


def _model_flaw(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint's model, if anything; its optimizer state isn't read."""
    return flaw(checkpoint, lambda name: name == META or name.startswith(f"{PARAMS}/"))
