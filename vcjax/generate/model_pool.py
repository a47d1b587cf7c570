"""Loaded models: the settings that every run shares, and several models under one memory bound."""

import sys
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.core.hardware import GiB
from vcjax.core.lineage import Parent
from vcjax.generate.cache import PREFIX_TOKENS, state_bytes
from vcjax.generate.engine_config import EngineConfig
from vcjax.generate.layout import ModelLayout
from vcjax.generate.room import Room, least_bytes
from vcjax.generate.text import TextEngine
from vcjax.model.build import Params
from vcjax.model.llama import unstack
from vcjax.model.lora import LoraConfig, join_params, split_adapters
from vcjax.weights.load import load_located, open_base
from vcjax.weights.mapping import import_params
from vcjax.weights.model import GENERATION, LoadedModel, StoredModel, read_tokenizer
from vcjax.weights.resolve import Located, resolve
from vcjax.weights.workdir import MODEL, Trained, read_sources, read_trained


@dataclass(frozen=True)
class PlannedModel:
    """The memory that one model takes, in bytes.

    Attributes:
      weights: its own parameters; those of a shared base count with the first model that has them.
      state: cache and logits of the slots with the longest sequence in each, and the pool of prefix
        blocks.
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

    Adapters of one base share its parameters. Where slots and context aren't given, each model is
    planned for an equal share of the memory.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        models: int = 1,
        memory: int | None = None,
        keep: bool = False,
        **options: Any,
    ) -> None:
        """Args:
        models: how many are to be loaded together.
        memory: bytes that they may take; None is the memory of their devices, less a tenth.
        keep: unload no model for another.
        options: of every `Engine`, beside those in `config`.

        Raises:
          UserError: the machine has too few devices.
        """
        self.memory = config.memory if memory is None else memory
        self._config, self._models, self._keep = config, models, keep
        self._options = options
        self._loaded: OrderedDict[str, PooledModel] = OrderedDict()

    def get(self, reference: str) -> PooledModel:
        """A model by its reference, which is loaded unless it is already.

        Idle models are unloaded before it is loaded, the least recently used first. What it takes
        is printed.

        Raises:
          UserError: no such model, or one that doesn't fit.
        """
        if reference not in self._loaded:
            loaded = self._loaded[reference] = self._load(reference, resolve(reference))
            engine, planned = loaded.text.engine, self.plan()[-1]
            count = len(engine.engines)
            copies = f" in {count} copies" if count > 1 else ""
            print(
                f"{reference}: {engine.slots} slots of {engine.context:,} tokens{copies}; "
                f"{planned.weights / GiB:.2f} GiB of weights and at most "
                f"{planned.state / GiB:.2f} beside them, of {self.memory / GiB:.2f}",
                file=sys.stderr,
            )
        self._loaded.move_to_end(reference)
        return self._loaded[reference]

    def plan(self) -> list[PlannedModel]:
        """The memory of each model, the least recently used one first."""
        counted: set[int] = set()
        plan = []
        for reference, loaded in self._loaded.items():
            engine = loaded.text.engine
            params = [each.params for each in engine.engines]
            sizes = {id(leaf): _bytes(leaf) for leaf in jax.tree.leaves(params)}
            # By identity: leaves of a shared base are the same arrays.
            weights = sum(size for leaf, size in sizes.items() if leaf not in counted)
            counted |= sizes.keys()
            plan.append(PlannedModel(reference, weights, engine.planned_bytes))
        return plan

    def _load(self, reference: str, located: Located) -> PooledModel:
        # Adapters on quantised weights, or on weights that are to be quantised, are merged: beside
        # them the base isn't what the adapters were trained on.
        if located.kind == "workdir" and not self._config.weights:
            trained = read_trained(located)
            if trained.lora is not None and not trained.lora.base:
                return self._load_adapters(reference, located, trained, trained.lora)
        room: Room | None = None

        def on_open(stored: StoredModel) -> None:
            nonlocal room
            dtype = self._config.dtype or stored.stored_dtype
            layout = self._config.layout(stored.config, dtype)
            room = self._make_room(reference, layout)

        loaded = load_located(located, self._config.dtype or None, on_open)
        engine = self._config.engine(loaded, room=room, **self._options)
        return PooledModel(TextEngine(loaded, engine), loaded.origin, loaded.origin.hash)

    def _load_adapters(
        self, reference: str, located: Located, trained: Trained, lora: LoraConfig
    ) -> PooledModel:
        folder = located.path
        base = next(source.hash for source in read_sources(folder) if source.role == "model")
        dtype = self._config.dtype or trained.stored_dtype
        layout = self._config.layout(trained.config, dtype, lora)
        shared = next(self._bases(base, dtype), None)
        room = self._make_room(reference, layout, shared)
        if shared is None:
            stored = open_base(folder)
            whole = import_params(stored.source, stored.config, np.dtype("float32"), str(folder))
            # Its engine casts them to `dtype`, and later adapters share the result.
            shared = [unstack(whole)] * self._config.copies
        params = [join_params(each, unstack(trained.params)) for each in shared]
        loaded = LoadedModel(
            config=trained.config,
            params=params[0],
            tokenizer=located.chat.apply(read_tokenizer(folder / MODEL)),
            generation_config=read_json(folder / MODEL / GENERATION),
            dtype=dtype,
            stored_dtype=trained.stored_dtype,
            origin=trained.origin,
        )
        engine = self._config.engine(loaded, lora, room, params, **self._options)
        return PooledModel(TextEngine(loaded, engine), trained.origin, base)

    def _bases(self, base: str, dtype: str) -> Iterator[list[Params]]:
        """Loaded parameters of that base, without adapters, of each copy."""
        for loaded in self._loaded.values():
            engine = loaded.text.engine
            if loaded.base == base and engine.dtype == jnp.dtype(dtype) and not engine.weights:
                yield [split_adapters(each.params)[1] for each in engine.engines]

    def _leaf_ids(self) -> set[int]:
        """The parameters of all loaded models, by identity."""
        engines = (each for loaded in self._loaded.values() for each in loaded.text.engine.engines)
        return {id(leaf) for engine in engines for leaf in jax.tree.leaves(engine.params)}

    def _planned(self, layout: ModelLayout) -> tuple[Room, int]:
        """The slots and the longest sequence of a model's engines, and the bytes that all take."""
        prefix_tokens = self._options.get("prefix_tokens", PREFIX_TOKENS)
        # A model that is larger than its share gets a usual engine all the same: then there is one
        # model at a time.
        least = least_bytes(layout, self._config.slots, self._config.context, prefix_tokens)
        copies = self._config.copies
        memory = self.memory // copies
        share = max(memory // self._models, min(least, memory))
        pages = self._options.get("pages", False)
        room = self._config.room(layout, share, prefix_tokens, pages=pages)
        return room, copies * state_bytes(layout, room.slots, room.context, prefix_tokens)

    def _make_room(
        self, reference: str, layout: ModelLayout, shared: Sequence[Params] | None = None
    ) -> Room:
        """Unloads idle models until there is memory for a new one; returns its slots and context.

        Args:
          shared: of each copy, those of its parameters that a loaded model has too, which may be
            unloaded.
        """
        room, state = self._planned(layout)
        while True:
            loaded = self._leaf_ids()
            kept = [leaf for leaf in jax.tree.leaves(shared) if id(leaf) in loaded]
            weights = self._config.copies * layout.nbytes - sum(map(_bytes, kept))
            wanted = sum(model.weights + model.state for model in self.plan()) + weights + state
            if wanted <= self.memory:
                return room
            idle = (
                name
                for name, model in self._loaded.items()
                if model.text.engine.is_idle and not self._keep
            )
            unloaded = next(idle, None)
            if unloaded is None:
                raise UserError(
                    f"{reference}: with it the models take {wanted / GiB:.2f} GiB, and "
                    f"{self.memory / GiB:.2f} may be used; lower the slots or the context, or "
                    "store weights in 8 bits"
                )
            self._loaded.pop(unloaded).text.engine.release()


def _bytes(leaf: jax.Array) -> int:
    return sum(shard.data.nbytes for shard in leaf.addressable_shards)
