"""Loaded models: the settings that every run shares, and several models under one memory bound."""

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.core.hardware import GiB
from vcjax.core.lineage import Parent
from vcjax.core.settings import check_at_least
from vcjax.generate import WEIGHT_FORMS
from vcjax.generate.engine import Engine
from vcjax.generate.text import TextEngine
from vcjax.model.build import Params
from vcjax.model.llama import unstack
from vcjax.model.lora import LoraConfig, join_params, split_adapters
from vcjax.parallel import make_mesh
from vcjax.weights.load import load_located, open_base
from vcjax.weights.mapping import import_params
from vcjax.weights.model import GENERATION, LoadedModel, check_dtype, read_tokenizer
from vcjax.weights.resolve import Located, resolve
from vcjax.weights.workdir import MODEL, Trained, read_sources, read_trained

_SPARE = 0.1
"""Share of the memory that is left to the programs' temporaries and to everything else."""


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Settings of the engines of a run; every config of a run that loads models extends it.

    Attributes:
      slots: texts that a model decodes together.
      dtype: of computation, parameters and cache; empty is each source's own.
      weights: '' or 'int8', how the kernels of the projections are stored.
      tensor: devices that share each model, the first ones of this machine.

    Raises:
      UserError: a value that is out of its range.
    """

    slots: int = 16
    dtype: str = ""
    weights: str = ""
    tensor: int = 1

    def __post_init__(self) -> None:
        check_at_least(self, {"slots": 1, "tensor": 1})
        if self.dtype:
            check_dtype(self.dtype)
        if self.weights not in WEIGHT_FORMS:
            known = ", ".join(repr(form) for form in WEIGHT_FORMS)
            raise UserError(f"config.weights must be one of {known}, not {self.weights!r}")

    def devices(self) -> list[Any]:
        """The devices that share each model.

        Raises:
          UserError: this machine has fewer.
        """
        local = jax.local_devices()
        if self.tensor > len(local):
            raise UserError(f"tensor={self.tensor}: this machine has {len(local)} device(s)")
        return local[: self.tensor]

    @property
    def engine_fields(self) -> dict[str, Any]:
        """The values of these fields, for another config that extends this class."""
        return {field.name: getattr(self, field.name) for field in fields(EngineConfig)}

    def engine(self, loaded: LoadedModel, lora: LoraConfig | None = None, **options: Any) -> Engine:
        """An engine on a model that was loaded in `dtype`; `options` are of `Engine`."""
        return Engine(
            loaded.config,
            loaded.params,
            slots=self.slots,
            dtype=jnp.dtype(loaded.dtype),
            weights=self.weights,
            lora=lora,
            mesh=self._mesh(),
            **options,
        )

    def _mesh(self) -> Mesh | None:
        return make_mesh({"tensor": self.tensor}, self.devices()) if self.tensor > 1 else None


@dataclass(frozen=True)
class PlannedModel:
    """The memory that one model takes, in bytes.

    Attributes:
      weights: its own parameters; those of a shared base count with the first model that has them.
      state: cache and logits of the slots at the planned context, and the pool of prefix blocks.
    """

    reference: str
    weights: int
    state: int


@dataclass(frozen=True)
class PooledModel:
    """A loaded model: its engine, its origin, and the hash of its parameters without adapters."""

    text: TextEngine
    origin: Parent
    base: str


class ModelPool:
    """Models by reference, each loaded once; the least recently used one makes room for others.

    Adapters of one base share its parameters.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        memory: int | None = None,
        context: int = 2048,
        keep: bool = False,
        **options: Any,
    ) -> None:
        """Args:
        memory: bytes that the models may take; None is the memory of their devices, less a tenth.
        context: tokens that are planned for each slot.
        keep: unload no model for another.
        options: of every `Engine`, beside those in `config`.

        Raises:
          UserError: the machine has too few devices.
        """
        devices = config.devices()
        self.memory = int(device_memory(devices) * (1 - _SPARE)) if memory is None else memory
        self._config, self._context, self._keep = config, context, keep
        self._options = options
        self._loaded: OrderedDict[str, PooledModel] = OrderedDict()

    def get(self, reference: str) -> PooledModel:
        """A model by its reference, which is loaded unless it is already.

        Idle models are unloaded for it, the least recently used first.

        Raises:
          UserError: no such model, or one that doesn't fit.
        """
        if reference not in self._loaded:
            # Then room: what it takes beside a base that it shares is known once it is loaded.
            self._loaded[reference] = self._load(resolve(reference))
            self._make_room(reference)
        self._loaded.move_to_end(reference)
        return self._loaded[reference]

    def plan(self) -> list[PlannedModel]:
        """The memory of each model, the least recently used one first."""
        counted: set[int] = set()
        plan = []
        for reference, loaded in self._loaded.items():
            engine = loaded.text.engine
            sizes = {id(leaf): _bytes(leaf) for leaf in jax.tree.leaves(engine.params)}
            # By identity: leaves of a shared base are the same arrays.
            weights = sum(size for leaf, size in sizes.items() if leaf not in counted)
            counted |= sizes.keys()
            plan.append(PlannedModel(reference, weights, engine.planned_bytes(self._context)))
        return plan

    def _load(self, located: Located) -> PooledModel:
        # Adapters on quantised weights, or on weights that are to be quantised, are merged: beside
        # them the base isn't what the adapters were trained on.
        if located.kind == "workdir" and not self._config.weights:
            trained = read_trained(located)
            if trained.lora is not None and not trained.lora.base:
                return self._load_adapters(located, trained, trained.lora)
        loaded = load_located(located, self._config.dtype or None)
        engine = self._config.engine(loaded, **self._options)
        return PooledModel(TextEngine(loaded, engine), loaded.origin, loaded.origin.hash)

    def _load_adapters(self, located: Located, trained: Trained, lora: LoraConfig) -> PooledModel:
        folder = located.path
        base = next(source.hash for source in read_sources(folder) if source.role == "model")
        dtype = self._config.dtype or trained.stored_dtype
        shared = next(self._bases(base, dtype), None)
        if shared is None:
            stored = open_base(folder)
            shared = unstack(
                import_params(stored.source, stored.config, np.dtype("float32"), str(folder))
            )
            # Its engine casts them to `dtype`, and later adapters share the result.
        loaded = LoadedModel(
            config=trained.config,
            params=join_params(shared, unstack(trained.params)),
            tokenizer=located.chat.apply(read_tokenizer(folder / MODEL)),
            generation_config=read_json(folder / MODEL / GENERATION),
            dtype=dtype,
            stored_dtype=trained.stored_dtype,
            origin=trained.origin,
        )
        engine = self._config.engine(loaded, lora, **self._options)
        return PooledModel(TextEngine(loaded, engine), trained.origin, base)

    def _bases(self, base: str, dtype: str) -> Iterator[Params]:
        """Loaded parameters of that base, without adapters."""
        for loaded in self._loaded.values():
            engine = loaded.text.engine
            if loaded.base == base and engine.dtype == jnp.dtype(dtype) and not engine.weights:
                yield split_adapters(engine.params)[1]

    def _make_room(self, new: str) -> None:
        while (wanted := sum(model.weights + model.state for model in self.plan())) > self.memory:
            idle = (
                reference
                for reference, loaded in self._loaded.items()
                if reference != new and loaded.text.engine.is_idle and not self._keep
            )
            unloaded = next(idle, None)
            if unloaded is None:
                del self._loaded[new]
                raise UserError(
                    f"{new}: with it the models take {wanted / GiB:.2f} GiB, and "
                    f"{self.memory / GiB:.2f} may be used; lower the slots or the context, or "
                    "store weights in 8 bits"
                )
            self._loaded.pop(unloaded).text.engine.release()


def _bytes(leaf: jax.Array) -> int:
    return sum(shard.data.nbytes for shard in leaf.addressable_shards)


def device_memory(devices: Sequence[Any]) -> int:
    """Bytes of memory of the devices together: a CPU's is the machine's."""
    known = [device.memory_stats() for device in devices]
    if all(stats and "bytes_limit" in stats for stats in known):
        return sum(stats["bytes_limit"] for stats in known if stats)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
