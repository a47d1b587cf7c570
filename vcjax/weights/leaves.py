"""Leaves of an Orbax checkpoint that are made, and read, a few at a time.

Orbax takes a tree of arrays and gives one back. Here the leaves are promises: on saving, each is
made when its turn comes and dropped when it is on disk; on opening, none is read before it is asked
for. What lies on disk is an ordinary Orbax checkpoint of NumPy arrays.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.type_handlers import (
    NumpyHandler,
    create_type_handler_registry,
    get_type_handler,
)

from vcjax.core.stores import absolute
from vcjax.model.build import Params

Read = Callable[[], np.ndarray]

# A larger leaf is split: its parts are laid out and compressed in turn, and on all cores. Smaller
# ones are made and written together, up to this size.
CHUNK_BYTES = 16 * 1024**2


@dataclass(frozen=True)
class Leaf:
    """An array of `nbytes` bytes that `make` makes."""

    nbytes: int
    make: Read


class _LeafHandler(NumpyHandler):
    """Tells Orbax how to store a `Leaf`: as the NumPy array that it makes."""

    def __init__(self) -> None:
        super().__init__(deepcopy_host_arrays=False)  # nobody else holds what a leaf makes

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
        for written in await super().serialize([leaf.make() for leaf in leaves], infos, args):
            await asyncio.to_thread(written.result)

    async def deserialize(
        self, infos: Sequence[Any], args: Sequence[Any] | None = None
    ) -> Sequence[Read]:
        """Returns a function for each leaf, that reads it."""
        return [partial(self._read, info) for info in infos]

    def _read(self, info: Any) -> np.ndarray:
        # In a thread of its own: a notebook's main thread already runs a loop.
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
