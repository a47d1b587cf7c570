"""What a training run has trained, as tensors that are read when they are asked for."""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from vcjax.core.lineage import Parent
from vcjax.core.stores import absolute
from vcjax.model.build import Params, shapes
from vcjax.model.config import LlamaConfig
from vcjax.model.lora import LEAVES, LoraConfig, merge_lora
from vcjax.model.quantised import dequantise, quantise
from vcjax.weights.adapters import split_adapters
from vcjax.weights.mapping import Bounds, ParamsSource, Source, StackedSource, places
from vcjax.weights.steps import PARAMS, check_tree


@dataclass(frozen=True)
class Trained:
    """What a checkpoint of a run holds of the model, in float32.

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
        """Where Orbax has the parameters."""
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


class TrainedSource(StackedSource):
    """The parameters of a run that trained all of them."""

    def __init__(self, trained: Trained) -> None:
        self._trained = trained
        self._shapes = {place.name: place.tensor_shape for place in places(trained.config)}

    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return self._shapes[name]

    def tensor(self, name: str) -> np.ndarray:
        """One tensor, float32; the first one reads them all."""
        return self._in_memory.tensor(name)

    def onto(self, layout: Params) -> Params:
        """Reads the parameters onto a mesh: each process what its devices hold."""
        check_tree(self._trained.path, shapes(self._trained.config))
        where = jax.tree.map(
            lambda leaf: ocp.ArrayRestoreArgs(dtype=leaf.dtype, sharding=leaf.sharding), layout
        )
        with ocp.PyTreeCheckpointer() as reader:
            return reader.restore(self._trained.path, restore_args=where)

    @cached_property
    def _in_memory(self) -> ParamsSource:
        return ParamsSource(self._trained.params, self._trained.config)


class AdaptedSource(Source):
    """A base with a run's adapters merged into it, float32; only the adapters are in memory.

    A base that was quantised (`lora.base`) is quantised again, in the same way, and what its codes
    stand for is merged into.
    """

    def __init__(self, base: Source, trained: Trained) -> None:
        """Reads the adapters.

        Args:
          base: tensors of the model that the run began with.
        """
        assert trained.lora is not None
        self._base, self._lora, self._layers = base, trained.lora, trained.params["layers"]
        self._places = {place.name: place for place in places(trained.config)}

    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self._places)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return self._places[name].tensor_shape

    def tensor(self, name: str) -> np.ndarray:
        """Reads one tensor, adapted."""
        return self.part(name, tuple((0, size) for size in self.shape(name)))

    def part(self, name: str, bounds: Bounds) -> np.ndarray:
        """Reads what is between `bounds` of one tensor, adapted."""
        place = self._places[name]
        if place.layer is None or place.path[-1] != "kernel":
            return self._base.part(name, bounds).astype(np.float32)
        (top, bottom), (left, right) = bounds
        # On the host: an accelerator needn't have room for the whole model in float32.
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            kernel = self._kernel(name, bounds)
            if place.path[1] in self._layers:
                adapter = self._layers[place.path[1]]
                a, b = (adapter[leaf][place.layer] for leaf in LEAVES)
                whole = {"kernel": kernel, "lora_a": a[left:right], "lora_b": b[:, top:bottom]}
                kernel = merge_lora(whole, self._lora)["kernel"]
            return np.asarray(kernel).T

    def _kernel(self, name: str, bounds: Bounds) -> Any:
        """[inputs, outputs] of a projection, as the run held it."""
        form, (rows, (left, right)) = self._lora.base, bounds
        if not form:
            return self._base.part(name, bounds).astype(np.float32).T
        every = (0, self.shape(name)[1])  # the inputs of an output share scales
        kernel = self._base.part(name, (rows, every)).astype(np.float32).T
        return _restored(kernel, form)[left:right]


@partial(jax.jit, static_argnames=("form",))
def _restored(kernel: Any, form: str) -> Any:
    """What the codes of a quantised kernel [inputs, outputs] stand for."""
    made = quantise(kernel, form, 1)
    return dequantise(made["codes"], made["scales"])
