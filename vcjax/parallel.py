"""Mesh, the table that maps logical axes of tensors to mesh axes, and what processes do together.

make_mesh                    devices -> mesh
sharding(s), partition_spec  logical axes of a tensor -> LOGICAL_AXIS_RULES -> mesh axes
is_main_process, barrier,    several hosts: one decides and writes, all of them end together
  on_main_process, ...
"""

import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
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
"""Mesh axes: copies of the model, shards of every parameter, shards of each matmul, and shards of
each row's tokens."""

LOGICAL_AXIS_RULES: dict[str, tuple[str, ...]] = {
    "batch": ("data", "fsdp"),
    "length": ("sequence",),
    "vocab": ("tensor",),
    "embed": ("fsdp",),
    "heads": ("tensor",),
    "kv_heads": ("tensor",),
    # RoPE pairs dimension i with i + head_dim / 2, which another device would have.
    "head_dim": (),
    "mlp": ("tensor",),
    # The scan over layers needs one whole layer at a time, on all devices.
    "layers": (),
    "rank": (),
}
"""Which mesh axes each logical axis is sharded over; () is replicated.

The names are those that `vcjax.model` gives to the axes of its parameters, and `batch` and `length`
of rows of tokens.
"""

AnyMesh = Mesh | AbstractMesh
Entry = tuple[str, ...] | str | None
"""One entry of a `PartitionSpec`: the mesh axes that one axis of a tensor is sharded over."""


def make_mesh(sizes: Mapping[str, int], devices: Sequence[Any] | None = None) -> Mesh:
    """Arranges devices (default: all) as a mesh. One size may be -1, which takes what is left.

    Raises:
      UserError: an unknown axis, or sizes that don't multiply to the number of devices.
    """
    shape = mesh_shape(sizes, jax.device_count() if devices is None else len(devices))
    kinds = (AxisType.Auto,) * len(AXES)
    return jax.make_mesh(shape, AXES, axis_types=kinds, devices=devices)


def abstract_mesh(sizes: Mapping[str, int], count: int, kind: str, platform: str) -> AbstractMesh:
    """The mesh that `make_mesh` makes of `count` devices that this machine lacks.

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
        known = -int(np.prod(shape))  # the -1 is among the factors
        shape[shape.index(-1)] = count // known if known and count % known == 0 else 0
    if int(np.prod(shape)) != count or min(shape) < 1:
        asked = " x ".join(f"{axis}={sizes.get(axis, 1)}" for axis in AXES)
        raise UserError(f"mesh {asked} doesn't fit {count} device(s)")
    return tuple(shape)


def sharding(mesh: AnyMesh, axes: tuple[str, ...], shape: tuple[int, ...]) -> NamedSharding:
    """Sharding of one tensor by its logical axes.

    A mesh axis that doesn't divide its dimension is left out: 3 key/value heads on a tensor axis
    of 2 are replicated, which is no error.
    """
    # Replicating is right for few key/value heads: padding them to the axis would change the
    # parameters' shapes, and with them checkpoints and exports.
    spec, used = [], set()
    for axis, size in zip(axes, shape, strict=True):
        if axis not in LOGICAL_AXIS_RULES:
            hint = suggest(axis, LOGICAL_AXIS_RULES)
            raise ValueError(f"no sharding rule for axis {axis!r}{hint}")
        wanted = LOGICAL_AXIS_RULES[axis]
        # JAX allows a mesh axis once in a spec. An axis of size 1 divides nothing and is left out,
        # so that tensors with the same shards have equal specs, which callers compare.
        names = [name for name in wanted if name not in used and mesh.shape[name] > 1]
        if names and size % int(np.prod([mesh.shape[name] for name in names])) == 0:
            used.update(names)
            spec.append(tuple(names) if len(names) > 1 else names[0])
        else:
            spec.append(None)
    return NamedSharding(mesh, PartitionSpec(*spec))


def shardings(mesh: AnyMesh, axes: Any, shapes: Any) -> Any:
    """Shardings of a tree; `axes` has tuples of names where `shapes` has shaped leaves."""
    # A tuple of names is a subtree to JAX. It is passed whole because `shapes`, the first tree, has
    # a leaf where it stands.
    return jax.tree.map(lambda leaf, names: sharding(mesh, names, leaf.shape), shapes, axes)


def partition_spec(mesh: AnyMesh, axes: tuple[str, ...], shape: tuple[int, ...]) -> PartitionSpec:
    """The mesh axes of one tensor; see `sharding`."""
    return sharding(mesh, axes, shape).spec


def gathered_sharding(
    mesh: AnyMesh, axes: tuple[str, ...], shape: tuple[int, ...]
) -> NamedSharding | None:
    """Sharding of a weight when rows are multiplied by it: whole along the axes that shard rows.

    None where it is stored so anyway.
    """
    rows = mesh_axes(LOGICAL_AXIS_RULES["batch"])
    stored = partition_spec(mesh, axes, shape)
    kept = [tuple(sorted(mesh_axes(entry) - rows)) or None for entry in stored]
    if not mesh_axes(*stored) & rows:
        return None
    return NamedSharding(mesh, PartitionSpec(*kept))


def mesh_axes(*entries: Entry) -> set[str]:
    """The mesh axes in entries of a spec."""
    names: set[str] = set()
    for entry in entries:
        names.update((entry,) if isinstance(entry, str) else entry or ())
    return names


def shard_count(mesh: AnyMesh, entry: Entry) -> int:
    """The number of shards into which an entry of a spec divides its axis."""
    return int(np.prod([mesh.shape[name] for name in mesh_axes(entry)]))


def replica_count(mesh: AnyMesh, axes: tuple[str, ...], shape: tuple[int, ...]) -> int:
    """How many devices have each shard of a tensor."""
    shards = [shard_count(mesh, entry) for entry in partition_spec(mesh, axes, shape)]
    return int(np.prod(list(mesh.shape.values()))) // int(np.prod(shards))


def platform_of(mesh: AnyMesh) -> str:
    """What the devices are: `cpu`, `gpu` or `tpu`."""
    return mesh.abstract_mesh.abstract_device.platform


def put(value: Any, sharding: NamedSharding) -> jax.Array:
    """Shards a host array. Each of several processes has the whole value and uses its shards."""
    whole = np.asarray(value)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def check_host_name() -> None:
    """Checks what processes on CPUs need to connect, before JAX ends with a traceback.

    Raises:
      UserError: this host's name has no address.
    """
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        raise UserError(
            f"--distributed: this host's name, {name!r}, has no address; add a line with it to "
            "/etc/hosts"
        ) from None


def is_main_process() -> bool:
    """Whether this process is the one that writes the files that all processes share."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Waits until every process has called it with this name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def on_main_process(work: Callable[[], _Result]) -> _Result:
    """Returns on every process what `work` returns on the main process, while the others wait.

    It is for decisions that only the main process may take, and files that only it can read.

    Args:
      work: returns a JSON-serialisable value.

    Raises:
      UserError, GateNotMet: the one that `work` raised, on every process.
    """
    if jax.process_count() == 1:
        return work()
    outcome: dict[str, Any] = {}
    if is_main_process():
        try:
            outcome = {"result": work()}
        except tuple(_ENDS.values()) as end:
            outcome = _as_outcome(end)
    outcome = _broadcast(outcome, source=0)
    _raise_end(outcome)
    return outcome["result"]


@contextmanager
def ending_together() -> Iterator[None]:
    """Raises the UserError or GateNotMet of any process in the block on every process.

    It is for blocks that each process runs for itself, without waiting for others in between.
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
            # Of several errors all processes raise the same one, the lowest process's.
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
        # `append` returns None, which JSON can carry to the others; the value itself stays here.
        on_main_process(lambda: entered.append(stack.enter_context(make())))
        yield entered[0] if entered else None


def _as_outcome(end: Exception) -> dict[str, str]:
    return {"end": type(end).__name__, "message": str(end)}


def _raise_end(outcome: dict[str, Any]) -> None:
    if "end" in outcome:
        raise _ENDS[outcome["end"]](outcome["message"])


def _broadcast(value: Any, source: int) -> Any:
    """Sends JSON from one process to all."""
    # Collectives need one shape on every process, so the size is sent before the bytes.
    data = np.frombuffer(json.dumps(value).encode(), np.uint8)
    is_source = jax.process_index() == source
    size = int(multihost_utils.broadcast_one_to_all(np.int32(data.size), is_source=is_source))
    sent = data if is_source else np.zeros(size, np.uint8)
    received = multihost_utils.broadcast_one_to_all(sent, is_source=is_source)
    return json.loads(np.asarray(received).tobytes())


def replicated(mesh: AnyMesh) -> NamedSharding:
    """Sharding of a tensor of which every device has the whole."""
    return NamedSharding(mesh, PartitionSpec())
