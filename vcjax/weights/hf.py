"""Hugging Face folders: safetensors in, sharded safetensors out."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from vcjax.core.errors import UserError
from vcjax.core.files import read_json, write_json
from vcjax.core.progress import Progress
from vcjax.core.stores import as_path
from vcjax.model.config import LlamaConfig
from vcjax.weights.mapping import Bounds, Source, tensor_locations
from vcjax.weights.safetensors_file import (
    DTYPES,
    Stored,
    read_header,
    read_part,
    read_tensor,
    write_file,
)

SHARD_BYTES = 5 * 1000**3


class HFSource(Source):
    """A folder with `config.json` and one or more safetensors files; tensors stay on disk."""

    def __init__(self, folder: str | Path) -> None:
        """Reads config, index and the headers of all files.

        Raises:
          UserError: no `config.json`, no safetensors, a file that is truncated or corrupt, or an
            index that names a file which isn't there.
        """
        self.folder = as_path(folder)
        if not (self.folder / "config.json").is_file():
            raise UserError(f"{folder}: no config.json: not a Hugging Face model folder")
        self.config: dict[str, Any] = read_json(self.folder / "config.json")
        self._stored: dict[str, Stored] = {}
        for file in self._files():
            # From the files themselves and not from the index, which may be of another version of
            # the model.
            for name, stored in read_header(self.folder / file).items():
                if name in self._stored:
                    first = self._stored[name].path.name
                    raise UserError(f"{folder}: tensor {name!r} is in both {first} and {file}")
                self._stored[name] = stored
        if not self._stored:
            raise UserError(f"{folder}: no tensors in its safetensors files")

    def _files(self) -> list[str]:
        single = "model.safetensors"  # may be beside a second copy in its maker's own layout
        if (self.folder / single).is_file():
            return [single]
        index = self.folder / "model.safetensors.index.json"
        if index.is_file():
            files = sorted(set(read_json(index).get("weight_map", {}).values()))
            for file in files:
                # An index is data from elsewhere: `../x` in it must not lead out of the folder.
                if Path(file).name != file or not (self.folder / file).is_file():
                    raise UserError(f"{index}: names {file!r}, which isn't in the folder")
            return files
        files = sorted(path.name for path in self.folder.glob("*.safetensors"))
        if not files:
            pickled = list(self.folder.glob("*model*.bin")) + list(self.folder.glob("*.pt"))
            why = ": pickled weights are not loaded; convert them to safetensors" if pickled else ""
            raise UserError(f"{self.folder}: no .safetensors file{why}")
        return files

    def names(self) -> list[str]:
        return list(self._stored)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._stored[name].shape

    def tensor(self, name: str) -> np.ndarray:
        """Reads one tensor in its stored dtype."""
        return read_tensor(self._stored[name])

    def part(self, name: str, bounds: Bounds) -> np.ndarray:
        """Reads what is between `bounds` of one tensor, in its stored dtype."""
        return read_part(self._stored[name], bounds)

    @property
    def dtype(self) -> str:
        """The dtype in which the weights are stored: that of the largest tensor.

        Norms and the like may be stored in float32 beside matrices of bfloat16.
        """
        largest = max(self._stored.values(), key=lambda stored: math.prod(stored.shape))
        if largest.dtype not in DTYPES:
            raise UserError(f"{self.folder}: tensors of type {largest.dtype} are not supported")
        return DTYPES[largest.dtype]

    @property
    def generation_config(self) -> dict[str, Any]:
        """The parsed `generation_config.json`, empty where there is none."""
        path = self.folder / "generation_config.json"
        return read_json(path) if path.is_file() else {}


def write_weights(
    folder: Path, source: Source, config: LlamaConfig, dtype: str, shard_bytes: int = SHARD_BYTES
) -> None:
    """Writes `config.json` and the weights as safetensors, sharded above `shard_bytes`.

    One tensor is in memory at a time.
    """
    write_json(folder / "config.json", config.to_hf(dtype))
    size = jnp.dtype(dtype).itemsize
    shards = list(_plan(config, shard_bytes // size))
    total = size * sum(math.prod(shape) for shard in shards for shape in shard.values())
    weight_map = {}
    with Progress(total=total, unit="B", unit_scale=True, desc="safetensors") as bar:
        for number, shard in enumerate(shards, start=1):
            file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
            file = file if len(shards) > 1 else "model.safetensors"
            write_file(folder / file, shard, dtype, source.tensor, bar)
            weight_map.update(dict.fromkeys(shard, file))
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        write_json(folder / "model.safetensors.index.json", index)


def _plan(config: LlamaConfig, limit: int) -> Iterator[dict[str, tuple[int, ...]]]:
    """Names and shapes of the tensors, cut where a shard would exceed `limit` elements."""
    shard, count = {}, 0
    for location in tensor_locations(config):
        elements = math.prod(location.tensor_shape)
        if shard and count + elements > limit:
            yield shard
            shard, count = {}, 0
        shard[location.name] = location.tensor_shape
        count += elements
    yield shard
