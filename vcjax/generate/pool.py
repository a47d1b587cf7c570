"""Several models side by side under one memory plan; adapters of one base share its parameters."""

import os
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
from vcjax.generate.holding import Holding
from vcjax.generate.text import TextEngine
from vcjax.model.build import Params
from vcjax.model.llama import unstack
from vcjax.model.lora import LoraConfig
from vcjax.weights.adapters import join, split_adapters
from vcjax.weights.bundle import GENERATION, Bundle, load_located
from vcjax.weights.mapping import import_params
from vcjax.weights.resolve import Located, resolve
from vcjax.weights.stored import read_tokenizer
from vcjax.weights.workdir import MODEL, Trained, open_base, read_sources, read_trained

_SPARE = 0.1
"""Share of the memory that is left to programs' temporaries and to everything else."""


@dataclass(frozen=True)
class Planned:
    """What one model takes, in bytes.

    Attributes:
      weights: its own parameters; those of a shared base count with the first that holds them.
      rows: cache and logits of the slots at the planned context, and the pool of prefixes.
    """

    reference: str
    weights: int
    rows: int


@dataclass(frozen=True)
class Held:
    """A loaded model: its engine, where it came from, and the hash of what its parameters are,
    adapters left out."""

    text: TextEngine
    origin: Parent
    base: str


class Pool:
    """Models by reference, each loaded once; the least recently asked one makes room."""

    def __init__(
        self,
        holding: Holding,
        *,
        memory: int | None = None,
        context: int = 2048,
        keep: bool = False,
        **options: Any,
    ) -> None:
        """Args:
        memory: bytes that the models may take; None is what their devices have, less a tenth.
        context: tokens that each slot is planned to hold.
        keep: give up none for another.
        options: of every `Engine`, beside what `holding` says.

        Raises:
          UserError: the machine hasn't the devices.
        """
        own = holding.devices()
        self.memory = int(device_memory(own) * (1 - _SPARE)) if memory is None else memory
        self._holding, self._context, self._keep = holding, context, keep
        self._options = options
        self._held: OrderedDict[str, Held] = OrderedDict()

    def get(self, reference: str) -> Held:
        """A model by its reference, loaded where it isn't yet.

        Models that answer nobody are given up for it, the least recently asked first.

        Raises:
          UserError: no such model, or one that doesn't fit.
        """
        if reference not in self._held:
            self._held[reference] = self._load(resolve(reference))
            self._make_room(reference)
        self._held.move_to_end(reference)
        return self._held[reference]

    def plan(self) -> list[Planned]:
        """What each model takes, the least recently asked one first."""
        seen: set[int] = set()
        plan = []
        for reference, held in self._held.items():
            engine = held.text.engine
            own = {id(leaf): _bytes(leaf) for leaf in jax.tree.leaves(engine.params)}
            weights = sum(size for place, size in own.items() if place not in seen)
            seen |= own.keys()
            plan.append(Planned(reference, weights, engine.planned_bytes(self._context)))
        return plan

    def _load(self, located: Located) -> Held:
        # Adapters on codes aren't the base's own weights: they are merged, and so are those that
        # are to become codes.
        if located.kind == "workdir" and not self._holding.weights:
            trained = read_trained(located)
            if trained.lora is not None and not trained.lora.base:
                return self._load_adapters(located, trained, trained.lora)
        bundle = load_located(located, self._holding.dtype or None)
        engine = self._holding.engine(bundle, **self._options)
        return Held(TextEngine(bundle, engine), bundle.origin, bundle.origin.hash)

    def _load_adapters(self, located: Located, trained: Trained, lora: LoraConfig) -> Held:
        folder = located.path
        base = next(one.hash for one in read_sources(folder) if one.role == "model")
        dtype = self._holding.dtype or trained.stored_dtype
        shared = next(self._bases(base, dtype), None)
        if shared is None:
            stored = open_base(folder)
            shared = unstack(
                import_params(stored.source, stored.config, np.dtype("float32"), str(folder))
            )
        bundle = Bundle(
            trained.config,
            join(shared, unstack(trained.params)),
            located.chat.apply(read_tokenizer(folder / MODEL)),
            read_json(folder / MODEL / GENERATION),
            dtype,
            trained.stored_dtype,
            trained.origin,
        )
        engine = self._holding.engine(bundle, lora, **self._options)
        return Held(TextEngine(bundle, engine), trained.origin, base)

    def _bases(self, base: str, dtype: str) -> Iterator[Params]:
        """Parameters of that base which an engine holds, without adapters."""
        for held in self._held.values():
            engine = held.text.engine
            if held.base == base and engine.dtype == jnp.dtype(dtype) and not engine.weights:
                yield split_adapters(engine.params)[1]

    def _make_room(self, kept: str) -> None:
        while (wanted := sum(one.weights + one.rows for one in self.plan())) > self.memory:
            idle = (
                reference
                for reference, held in self._held.items()
                if reference != kept and held.text.engine.idle and not self._keep
            )
            given_up = next(idle, None)
            if given_up is None:
                del self._held[kept]
                raise UserError(
                    f"{kept}: with it the models take {wanted / GiB:.2f} GiB, and "
                    f"{self.memory / GiB:.2f} may be taken; lower the slots or the context, or "
                    "hold weights in 8 bits"
                )
            self._held.pop(given_up).text.engine.release()


def _bytes(leaf: jax.Array) -> int:
    """What it takes on all devices together."""
    return sum(shard.data.nbytes for shard in leaf.addressable_shards)


def device_memory(devices: Sequence[Any]) -> int:
    """Bytes that the devices have together: a CPU's are the machine's."""
    known = [device.memory_stats() for device in devices]
    if all(stats and "bytes_limit" in stats for stats in known):
        return sum(stats["bytes_limit"] for stats in known if stats)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
