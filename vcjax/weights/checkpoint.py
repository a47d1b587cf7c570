"""A vcjax checkpoint folder: Orbax parameters beside the same small files as an HF folder.

The parameters are saved one leaf a layer, so that neither writing nor reading needs the memory of a
stacked projection. Orbax takes a tree of arrays and returns one. Here the leaves are promises: on
saving, each is made when its turn comes and dropped when it is on disk; on opening, none is read
before it is asked for. The files are those of an ordinary Orbax checkpoint of NumPy arrays.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.type_handlers import (
    NumpyHandler,
    create_type_handler_registry,
    get_type_handler,
)

from vcjax.core.errors import UserError
from vcjax.core.files import write_json
from vcjax.core.progress import Progress
from vcjax.core.stores import absolute, check_for_checkpoints
from vcjax.model.build import Params
from vcjax.model.config import LlamaConfig
from vcjax.weights.mapping import Source, TensorLocation, WholeSource, tensor_locations
from vcjax.weights.resolve import CHECKPOINT_MARK

PARAMS = "params"
Read = Callable[[], np.ndarray]

# A larger leaf is split: its parts are laid out and compressed in turn, and on all cores. Smaller
# ones are made and written together, up to this size.
CHUNK_BYTES = 16 * 1024**2


class CheckpointSource(WholeSource):
    """A checkpoint's parameters as tensors, each read when it is asked for."""

    def __init__(self, folder: Path, config: LlamaConfig) -> None:
        """Reads names and shapes.

        Raises:
          UserError: the parameters are incomplete or corrupt, or not those that `config` describes;
            or the folder is in a store that Orbax doesn't read.
        """
        super().__init__(config)
        check_for_checkpoints(folder)
        self._path = folder / PARAMS
        if not self._path.is_dir():
            raise UserError(f"{folder}: no {PARAMS}/: the checkpoint is incomplete")
        try:
            found, self._leaves = open_leaves(self._path)
        except (ValueError, OSError) as error:
            raise self._corrupt(error) from None
        _check(folder, found, {_key(each): each.shape for each in self._locations.values()})

    def tensor(self, name: str) -> np.ndarray:
        """Reads one tensor in its stored dtype.

        Raises:
          UserError: its part of the checkpoint is missing or corrupt.
        """
        location = self._locations[name]
        try:
            return location.tensor(self._leaves[_key(location)]())
        except (ValueError, OSError) as error:
            raise self._corrupt(error) from None

    def _corrupt(self, error: Exception) -> UserError:
        return UserError(f"{self._path}: incomplete or corrupt ({str(error).splitlines()[0]})")


def write_params(folder: Path, source: Source, config: LlamaConfig, dtype: str) -> None:
    """Writes `config.json`, the mark of a checkpoint and the parameters in `dtype`.

    A few tensors are in memory at a time.
    """
    tree: dict[str, Any] = {}
    sizes = {p: math.prod(p.shape) * jnp.dtype(dtype).itemsize for p in tensor_locations(config)}
    total = sum(sizes.values())
    with Progress(total=total, unit="B", unit_scale=True, desc="checkpoint") as bar:

        def make(location: TensorLocation) -> np.ndarray:
            leaf = location.leaf(source.tensor(location.name)).astype(jnp.dtype(dtype), copy=False)
            bar.update(leaf.nbytes)
            return leaf

        for location, nbytes in sizes.items():
            *above, last = _key(location).split(".")
            node = tree
            for part in above:
                node = node.setdefault(part, {})
            node[last] = Leaf(nbytes, partial(make, location))
        save_leaves(folder / PARAMS, tree)
    write_json(folder / "config.json", config.to_hf(dtype))
    write_json(folder / CHECKPOINT_MARK, {"format": 1, "dtype": dtype})


@dataclass(frozen=True)
class Leaf:
    """An array of `nbytes` bytes that `make` makes."""

    nbytes: int
    make: Read


class _LeafHandler(NumpyHandler):
    """Stores a `Leaf` as the NumPy array that it makes."""

    def __init__(self) -> None:
        super().__init__(deepcopy_host_arrays=False)  # nothing else refers to what a leaf makes

    async def serialize(
        self, values: Sequence[Leaf], infos: Sequence[Any], args: Sequence[Any] | None = None
    ) -> Sequence[Any]:
        """Writes the leaves a group after another; nothing is left to wait for."""
        rest = list(zip(values, infos, args or [None] * len(values), strict=True))
        while rest:
            sizes = accumulate(leaf.nbytes for leaf, _, _ in rest)
            count = max(1, sum(size <= CHUNK_BYTES for size in sizes))
            await self._write(*zip(*rest[:count], strict=True))
            del rest[:count]
        return []

    async def _write(self, leaves: Sequence[Leaf], infos: Sequence, args: Sequence) -> None:
        # Waited for, which Orbax would do later: until then it refers to every array that was made.
        for written in await super().serialize([leaf.make() for leaf in leaves], infos, args):
            await asyncio.to_thread(written.result)

    async def deserialize(
        self, infos: Sequence[Any], args: Sequence[Any] | None = None
    ) -> Sequence[Read]:
        """Returns a function for each leaf, that reads it."""
        return [partial(self._read, info) for info in infos]

    def _read(self, info: Any) -> np.ndarray:
        # In a separate thread: a notebook's main thread already runs a loop.
        with ThreadPoolExecutor(1) as thread:
            (array,) = thread.submit(asyncio.run, super().deserialize([info])).result()
        return array


def _checkpointer() -> ocp.Checkpointer:
    # Orbax warns of a registry that doesn't know JAX's arrays.
    known = (jax.Array, get_type_handler(jax.Array))
    registry = create_type_handler_registry((Leaf, _LeafHandler()), known)
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler(type_handler_registry=registry))


def save_leaves(path: Path, tree: Params) -> None:
    """Saves a nested dict of leaves at `path`, which must not exist."""
    # Chunks of each leaf: what is compressed at a time, and so what is in memory twice.
    chunked = jax.tree.map(lambda _: ocp.SaveArgs(chunk_byte_size=CHUNK_BYTES), tree)
    with _checkpointer() as checkpointer:
        checkpointer.save(absolute(path), args=ocp.args.PyTreeSave(tree, save_args=chunked))


def open_leaves(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, Read]]:
    """Returns shapes of a checkpoint's leaves, and what reads them, by path joined with dots.

    Raises:
      ValueError, OSError: the checkpoint is incomplete or corrupt.
    """
    path = absolute(path)
    with _checkpointer() as checkpointer:
        stored = checkpointer.metadata(path).item_metadata
        if stored is None:
            raise ValueError("Orbax finds no metadata")
        shapes = {name: tuple(leaf.shape) for name, leaf in _flat(stored.tree).items()}
        wanted = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=Leaf), dict(stored.tree))
        tree = checkpointer.restore(path, args=ocp.args.PyTreeRestore(restore_args=wanted))
    return shapes, _flat(tree)


def _flat(tree: Any) -> dict[str, Any]:
    keystr = jax.tree_util.keystr
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _key(location: TensorLocation) -> str:
    """The key of a tensor in a checkpoint, such as `layers.3.q.kernel`."""
    if location.layer is None:
        return ".".join(location.path)
    return ".".join((location.path[0], str(location.layer), *location.path[1:]))


def _check(
    folder: Path, found: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]
) -> None:
    for name in sorted(found.keys() | expected.keys()):
        if name not in found:
            raise UserError(f"{folder}: {name!r} is missing from {PARAMS}/")
        if name not in expected:
            raise UserError(f"{folder}: {name!r} in {PARAMS}/ is not part of this model")
        if found[name] != expected[name]:
            raise UserError(
                f"{folder}: {name!r} has shape {found[name]}, the config says {expected[name]}"
            )
