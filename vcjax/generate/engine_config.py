"""The settings that the engines of every run share, and the engine that they make of a model."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from vcjax.core.errors import UserError
from vcjax.core.settings import check_at_least
from vcjax.generate import WEIGHT_FORMS
from vcjax.generate.cache import PREFIX_TOKENS
from vcjax.generate.engine import Engine
from vcjax.generate.fleet import Fleet
from vcjax.generate.layout import ModelLayout
from vcjax.generate.room import (
    MOST_SLOTS,
    SPARE,
    USUAL_SLOTS,
    Room,
    device_memory,
    plan_room,
    reported_memory,
)
from vcjax.model.build import Params
from vcjax.model.config import LlamaConfig
from vcjax.model.lora import LoraConfig
from vcjax.parallel import make_mesh
from vcjax.weights.model import LoadedModel, check_dtype


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Settings of the engines of a run; every config of a run that loads models extends it.

    Attributes:
      slots: texts that a model decodes together; 0 is as many as the memory holds.
      context: tokens of the longest sequence, prompt and answer, which bounds the cache; 0 is as
        many as the memory holds in every slot, at most the model's maximum.
      dtype: of computation, parameters and cache; empty is each source's own.
      weights: '' or 'int8', how the kernels of the projections are stored.
      tensor: devices that share each copy of a model.
      replicas: copies of each model, each with an engine and devices of its own, before which there
        is one queue; 0 is as many as this machine has devices for.

    Raises:
      UserError: a value that is out of its range.
    """

    slots: int = 0
    context: int = 0
    dtype: str = ""
    weights: str = ""
    tensor: int = 1
    replicas: int = 0

    def __post_init__(self) -> None:
        check_at_least(self, {"slots": 0, "context": 0, "tensor": 1, "replicas": 0})
        if self.dtype:
            check_dtype(self.dtype)
        if self.weights not in WEIGHT_FORMS:
            known = ", ".join(repr(form) for form in WEIGHT_FORMS)
            raise UserError(f"config.weights must be one of {known}, not {self.weights!r}")

    def devices(self) -> list[list[Any]]:
        """The devices of each copy of a model, the first ones of this machine.

        Raises:
          UserError: this machine has fewer.
        """
        local = jax.local_devices()
        copies = self.replicas or max(1, len(local) // self.tensor)
        if copies * self.tensor > len(local):
            many = f"replicas={self.replicas}, " if self.replicas > 1 else ""
            raise UserError(f"{many}tensor={self.tensor}: this machine has {len(local)} device(s)")
        return [local[n * self.tensor : (n + 1) * self.tensor] for n in range(copies)]

    @property
    def engine_fields(self) -> dict[str, Any]:
        """The values of these fields, for another config that extends this class."""
        return {field.name: getattr(self, field.name) for field in fields(EngineConfig)}

    @property
    def copies(self) -> int:
        """Copies of each model on this machine."""
        return len(self.devices())

    @property
    def memory(self) -> int:
        """Bytes that models may take of all their devices together."""
        return int(device_memory([*chain(*self.devices())]) * (1 - SPARE))

    def layout(self, model: LlamaConfig, dtype: str, lora: LoraConfig | None = None) -> ModelLayout:
        """How the first copy of a model of this shape is laid out; see `layouts`."""
        return self.layouts(model, dtype, lora)[0]

    def layouts(
        self, model: LlamaConfig, dtype: str, lora: LoraConfig | None = None
    ) -> list[ModelLayout]:
        """How each copy of a model of this shape is laid out.

        Args:
          dtype: of computation, parameters and cache.
          lora: of adapters that stay unmerged.
        """
        return [
            ModelLayout(model, jnp.dtype(dtype), self.weights, lora, mesh)
            for mesh in self._meshes()
        ]

    def room(
        self,
        layout: ModelLayout,
        memory: int,
        prefix_tokens: int = PREFIX_TOKENS,
        *,
        pages: bool = False,
    ) -> Room:
        """The slots of an engine and its longest sequence: those of this config, else what fits.

        Args:
          memory: bytes for one copy of its parameters and what it keeps beside them.
          pages: whether the cache has pages; then the context is what fits in every slot, whatever
            a single sequence may have.
        """
        return plan_room(
            layout,
            memory - layout.nbytes,
            prefix_tokens=prefix_tokens,
            slots=self.slots,
            context=0 if pages else self.context,
            most_slots=MOST_SLOTS if reported_memory(self.devices()[0]) else USUAL_SLOTS,
        )

    def engine(
        self,
        loaded: LoadedModel,
        lora: LoraConfig | None = None,
        room: Room | None = None,
        params: Sequence[Params] = (),
        **options: Any,
    ) -> Engine | Fleet:
        """An engine on a model that was loaded in `dtype`, or one for each copy of it.

        Args:
          room: of each; None is what fits if no other model is loaded.
          params: of each copy, where some are on its devices already; else those of `loaded`.
          options: of `Engine`. With `pages` the pool is as large as rows of that room would be.
        """
        meshes = self._meshes()
        if room is None:
            layout = self.layout(loaded.config, loaded.dtype, lora)
            pages = options.get("pages", False)
            room = self.room(layout, self.memory // len(meshes), pages=pages)
        context = room.context
        if options.get("pages"):
            prefix_tokens = options.get("prefix_tokens", PREFIX_TOKENS)
            options["pool_tokens"] = room.slots * room.context + prefix_tokens
            context = self.context or room.context
        engines = [
            Engine(
                loaded.config,
                own,
                slots=room.slots,
                context=context,
                dtype=jnp.dtype(loaded.dtype),
                weights=self.weights,
                lora=lora,
                mesh=mesh,
                **options,
            )
            for mesh, own in zip(meshes, params or [loaded.params] * len(meshes), strict=True)
        ]
        return engines[0] if len(engines) == 1 else Fleet(engines)

    def _meshes(self) -> list[Mesh | None]:
        """The mesh of each copy; None is the default device."""
        groups = self.devices()
        if len(groups) == self.tensor == 1:
            return [None]
        return [make_mesh({"tensor": self.tensor}, group) for group in groups]
