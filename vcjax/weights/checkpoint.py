"""A vcjax checkpoint folder: Orbax parameters beside the same small files as an HF folder.

The parameters are saved one leaf a layer, so that neither writing nor reading holds a stacked
projection.
"""

import math
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from vcjax.core.errors import UserError
from vcjax.core.files import write_json
from vcjax.model.config import LlamaConfig
from vcjax.weights.leaves import Leaf, open_leaves, save_leaves
from vcjax.weights.mapping import Place, Source, places
from vcjax.weights.resolve import CHECKPOINT_MARK

PARAMS = "params"


class CheckpointSource(Source):
    """A checkpoint's parameters as tensors, each read when it is asked for."""

    def __init__(self, folder: Path, config: LlamaConfig) -> None:
        """Reads names and shapes.

        Raises:
          UserError: the parameters are incomplete or corrupt, or not those that `config` describes.
        """
        self._path = folder / PARAMS
        if not self._path.is_dir():
            raise UserError(f"{folder}: no {PARAMS}/: the checkpoint is incomplete")
        try:
            found, self._leaves = open_leaves(self._path)
        except (ValueError, OSError) as error:
            raise self._corrupt(error) from None
        self._places = {place.name: place for place in places(config)}
        _check(folder, found, {_key(place): place.shape for place in self._places.values()})

    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self._places)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return self._places[name].tensor_shape

    def tensor(self, name: str) -> np.ndarray:
        """Reads one tensor in its stored dtype.

        Raises:
          UserError: its part of the checkpoint is missing or corrupt.
        """
        place = self._places[name]
        try:
            return place.tensor(self._leaves[_key(place)]())
        except (ValueError, OSError) as error:
            raise self._corrupt(error) from None

    def _corrupt(self, error: Exception) -> UserError:
        return UserError(f"{self._path}: incomplete or corrupt ({str(error).splitlines()[0]})")


def write_params(folder: Path, source: Source, config: LlamaConfig, dtype: str) -> None:
    """Writes `config.json`, the mark of a checkpoint and the parameters in `dtype`.

    A few tensors are in memory at a time.
    """
    tree: dict[str, Any] = {}
    sizes = {p: math.prod(p.shape) * jnp.dtype(dtype).itemsize for p in places(config)}
    total = sum(sizes.values())
    with tqdm(total=total, unit="B", unit_scale=True, desc="checkpoint", disable=None) as bar:

        def make(place: Place) -> np.ndarray:
            leaf = place.leaf(source.tensor(place.name)).astype(jnp.dtype(dtype), copy=False)
            bar.update(leaf.nbytes)
            return leaf

        for place, nbytes in sizes.items():
            *above, last = _key(place).split(".")
            node = tree
            for part in above:
                node = node.setdefault(part, {})
            node[last] = Leaf(nbytes, partial(make, place))
        save_leaves(folder / PARAMS, tree)
    write_json(folder / "config.json", config.to_hf(dtype))
    write_json(folder / CHECKPOINT_MARK, {"format": 1, "dtype": dtype})


def _key(place: Place) -> str:
    """Where a checkpoint keeps the tensor: `layers.3.q.kernel`."""
    if place.layer is None:
        return ".".join(place.path)
    return ".".join((place.path[0], str(place.layer), *place.path[1:]))


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
