"""Mesh, and the one table that maps logical axes of tensors to axes of the mesh."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import (
    AbstractDevice,
    AbstractMesh,
    AxisType,
    Mesh,
    NamedSharding,
    PartitionSpec,
)

from vcjax.core.errors import GateNotMet, UserError, suggest

_Result = TypeVar("_Result")
_ENDS = {end.__name__: end for end in (UserError, GateNotMet)}

AXES = ("data", "fsdp", "tensor", "sequence")
"""Mesh axes: copies of the model, shards of every parameter, shards of each matrix product, and
shards of each row's tokens."""


@dataclass(frozen=True)
class ShardingRules:
    """Which mesh axes each logical axis is laid over; None is replicated.

    The names are those that `vcjax.model` gives to the axes of its parameters, and
    `batch` and `length` of rows of tokens.
    """

    batch: tuple[str, ...] | str | None = ("data", "fsdp")
    length: tuple[str, ...] | str | None = "sequence"
    vocab: tuple[str, ...] | str | None = "tensor"
    embed: tuple[str, ...] | str | None = "fsdp"
    heads: tuple[str, ...] | str | None = "tensor"
    kv_heads: tuple[str, ...] | str | None = "tensor"
    head_dim: tuple[str, ...] | str | None = None
    mlp: tuple[str, ...] | str | None = "tensor"
    layers: tuple[str, ...] | str | None = None
    rank: tuple[str, ...] | str | None = None


_FIELDS = {field.name for field in dataclasses.fields(ShardingRules)}


def make_mesh(sizes: Mapping[str, int], devices: Sequence[Any] | None = None) -> Mesh:
    """Lays devices (default: all there are) out as a mesh. One size may be -1: whatever is left.

    Raises:
      UserError: an unknown axis, or sizes that don't multiply to the number of devices.
    """
    shape = mesh_shape(sizes, jax.device_count() if devices is None else len(devices))
    kinds = (AxisType.Auto,) * len(AXES)
    return jax.make_mesh(shape, AXES, axis_types=kinds, devices=devices)


def abstract_mesh(sizes: Mapping[str, int], count: int, kind: str, platform: str) -> AbstractMesh:
    """The mesh that `make_mesh` makes of `count` devices that aren't here.

    Args:
      kind: `jax.Device.device_kind` of the devices, `platform` their platform.
    """
    device = AbstractDevice(kind, None, platform)
    kinds = (AxisType.Auto,) * len(AXES)
    shape = mesh_shape(sizes, count)
    return AbstractMesh(shape, AXES, axis_types=kinds, abstract_device=device)


def mesh_shape(sizes: Mapping[str, int], count: int) -> tuple[int, ...]:
    """Size of each of AXES for `count` devices; see `make_mesh`."""
    for axis in sizes:
        if axis not in AXES:
            raise UserError(f"mesh axis {axis!r} is not one of {', '.join(AXES)}")
    shape = [int(sizes.get(axis, 1)) for axis in AXES]
    if shape.count(-1) == 1:
        known = -int(np.prod(shape))
        shape[shape.index(-1)] = count // known if known and count % known == 0 else 0
    if int(np.prod(shape)) != count or min(shape) < 1:
        asked = " x ".join(f"{axis}={sizes.get(axis, 1)}" for axis in AXES)
        raise UserError(f"mesh {asked} doesn't fit {count} device(s)")
    return tuple(shape)


def sharding(
    mesh: Mesh | AbstractMesh, rules: ShardingRules, axes: tuple[str, ...], shape: tuple[int, ...]
) -> NamedSharding:
    """Sharding of one tensor. A mesh axis that doesn't divide its dimension is left out.

    (So 3 key/value heads on a tensor axis of 2 are replicated, not an error.)
    """
    spec, used = [], set()
    for axis, size in zip(axes, shape, strict=True):
        if axis not in _FIELDS:
            raise ValueError(f"no sharding rule for axis {axis!r}{suggest(axis, _FIELDS)}")
        wanted = getattr(rules, axis)
        asked = (wanted,) if isinstance(wanted, str) else tuple(wanted or ())
        names = [name for name in asked if name not in used and mesh.shape[name] > 1]
        if names and size % int(np.prod([mesh.shape[name] for name in names])) == 0:
            used.update(names)
            spec.append(tuple(names) if len(names) > 1 else names[0])
        else:
            spec.append(None)
    return NamedSharding(mesh, PartitionSpec(*spec))


def shardings(mesh: Mesh | AbstractMesh, rules: ShardingRules, axes: Any, shapes: Any) -> Any:
    """Shardings of a tree; `axes` has tuples of names where `shapes` has shaped leaves."""
    return jax.tree.map(lambda leaf, names: sharding(mesh, rules, names, leaf.shape), shapes, axes)


@dataclass(frozen=True)
class OnMesh:
    """A mesh and its rules, for what XLA can't lay over it by itself: kernels."""

    mesh: Mesh | AbstractMesh
    rules: ShardingRules

    @property
    def platform(self) -> str:
        """What the devices are: `cpu`, `gpu` or `tpu`."""
        return self.mesh.abstract_mesh.abstract_device.platform

    def spec(self, axes: tuple[str, ...], shape: tuple[int, ...]) -> PartitionSpec:
        """The mesh axes of one tensor; see `sharding`."""
        return sharding(self.mesh, self.rules, axes, shape).spec

    def gathered(self, axes: tuple[str, ...], shape: tuple[int, ...]) -> NamedSharding | None:
        """How a weight lies where rows meet it: whole along the mesh axes that share rows out.

        None where it is stored so anyway.
        """
        rows = self.names(self.rules.batch)
        stored = self.spec(axes, shape)
        kept = [tuple(sorted(self.names(entry) - rows)) or None for entry in stored]
        if not self.names(*stored) & rows:
            return None
        return NamedSharding(self.mesh, PartitionSpec(*kept))

    def names(self, *axes: tuple[str, ...] | str | None) -> set[str]:
        """The mesh axes in entries of a spec."""
        return {
            name for entry in axes for name in ((entry,) if isinstance(entry, str) else entry or ())
        }

    def copies(self, axes: tuple[str, ...], shape: tuple[int, ...]) -> int:
        """How many devices hold each part of a tensor."""
        parts = int(np.prod([self.parts(entry) for entry in self.spec(axes, shape)]))
        return int(np.prod(list(self.mesh.shape.values()))) // parts

    def parts(self, axes: tuple[str, ...] | str | None) -> int:
        """In how many parts these mesh axes, an entry of a spec, divide a tensor."""
        return int(np.prod([self.mesh.shape[name] for name in self.names(axes)]))


def put(value: Any, sharding: NamedSharding) -> jax.Array:
    """Lays a host array out. With several processes each has the whole value and takes its part."""
    whole = np.asarray(value)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def leads() -> bool:
    """Whether this process is the one that writes what all of them share."""
    return jax.process_index() == 0


def meet(place: str) -> None:
    """Waits until every process has come to `place`."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(place)


def on_main_process(work: Callable[[], _Result]) -> _Result:
    """Returns on every process what `work` returns on the main process, while the others wait.

    What only the main process may decide, or reads from files that the others needn't see.

    Args:
      work: returns what JSON can hold.

    Raises:
      UserError, GateNotMet: the one that `work` raised, on every process.
    """
    if jax.process_count() == 1:
        return work()
    outcome: dict[str, Any] = {}
    if leads():
        try:
            outcome = {"result": work()}
        except tuple(_ENDS.values()) as end:
            outcome = _as_outcome(end)
    outcome = _broadcast(outcome, source=0)
    _raise_end(outcome)
    return outcome["result"]


@contextmanager
def ending_together() -> Iterator[None]:
    """Every process ends where any of them ends in the block, by its UserError or GateNotMet.

    For what each process does for itself, without waiting for others in between.
    """
    end = None
    try:
        yield
    except tuple(_ENDS.values()) as error:
        if jax.process_count() == 1:
            raise
        end = error
    if jax.process_count() > 1:
        ended = multihost_utils.process_allgather(np.asarray(end is not None))
        if np.any(ended):
            own = {} if end is None else _as_outcome(end)
            _raise_end(_broadcast(own, source=int(np.argmax(ended))))


@contextmanager
def entered_on_main_process(
    make: Callable[[], AbstractContextManager[_Result]],
) -> Iterator[_Result | None]:
    """Enters a context on the main process alone, where it yields its value; elsewhere None.

    Raises:
      UserError, GateNotMet: the one that entering it raised, on every process.
    """
    with ExitStack() as stack:
        entered: list[_Result] = []
        on_main_process(lambda: entered.append(stack.enter_context(make())))
        yield entered[0] if entered else None


def _as_outcome(end: Exception) -> dict[str, str]:
    return {"end": type(end).__name__, "message": str(end)}


def _raise_end(outcome: dict[str, Any]) -> None:
    if "end" in outcome:
        raise _ENDS[outcome["end"]](outcome["message"])


def _broadcast(value: Any, source: int) -> Any:
    """Sends JSON from one process to all."""
    data = np.frombuffer(json.dumps(value).encode(), np.uint8)
    is_source = jax.process_index() == source
    size = int(multihost_utils.broadcast_one_to_all(np.int32(data.size), is_source=is_source))
    sent = data if is_source else np.zeros(size, np.uint8)
    received = multihost_utils.broadcast_one_to_all(sent, is_source=is_source)
    return json.loads(np.asarray(received).tobytes())


def replicated(mesh: Mesh | AbstractMesh) -> NamedSharding:
    """Sharding of a tensor that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())
