"""Hugging Face folders: safetensors in, sharded safetensors out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from vcjax.foundation.errors import UserError
from vcjax.foundation.files import read_json, write_json
from vcjax.model.build import Params
from vcjax.model.config import LlamaConfig
from vcjax.weights.mapping import export_tensors

_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
SHARD_BYTES = 5 * 1000**3


class HFSource:
    """A folder with `config.json` and one or more safetensors files, opened by memory map."""

    quantised = False

    def __init__(self, folder: str | Path) -> None:
        """Reads config, index and the headers of all files.

        Raises:
          UserError: no `config.json`, no safetensors, a file that is truncated or corrupt, or an
            index that names a file which isn't there.
        """
        self.folder = Path(folder)
        if not (self.folder / "config.json").is_file():
            raise UserError(f"{folder}: no config.json: not a Hugging Face model folder")
        self.config: dict[str, Any] = read_json(self.folder / "config.json")
        self._files = {}
        self._home: dict[str, str] = {}
        for file in self._shards():
            for name in self._open(file).keys():  # noqa: SIM118 (not a dict)
                if name in self._home:
                    first = self._home[name]
                    raise UserError(f"{folder}: tensor {name!r} is in both {first} and {file}")
                self._home[name] = file
        if not self._home:
            raise UserError(f"{folder}: no tensors in its safetensors files")

    def _shards(self) -> list[str]:
        single = "model.safetensors"  # may lie beside a second copy in its maker's own layout
        if (self.folder / single).is_file():
            return [single]
        index = self.folder / "model.safetensors.index.json"
        if index.is_file():
            files = sorted(set(read_json(index).get("weight_map", {}).values()))
            for file in files:
                if Path(file).name != file or not (self.folder / file).is_file():
                    raise UserError(f"{index}: names {file!r}, which isn't in the folder")
            return files
        files = sorted(path.name for path in self.folder.glob("*.safetensors"))
        if not files:
            pickled = list(self.folder.glob("*.bin")) + list(self.folder.glob("*.pt"))
            why = ": pickled weights are not loaded; convert them to safetensors" if pickled else ""
            raise UserError(f"{self.folder}: no .safetensors file{why}")
        return files

    def _open(self, file: str) -> Any:
        if file not in self._files:
            try:
                self._files[file] = safe_open(self.folder / file, framework="np")
            except SafetensorError as error:
                reason = str(error).splitlines()[0]
                raise UserError(f"{self.folder / file}: truncated or corrupt ({reason})") from None
        return self._files[file]

    def _slice(self, name: str) -> Any:
        return self._open(self._home[name]).get_slice(name)

    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self._home)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, from the header."""
        return tuple(self._slice(name).get_shape())

    def tensor(self, name: str) -> np.ndarray:
        """Reads one tensor in its stored dtype."""
        return self._open(self._home[name]).get_tensor(name)

    @property
    def dtype(self) -> str:
        """The dtype in which the weights are stored: that of the largest tensor."""
        largest = max(self._home, key=lambda name: int(np.prod(self.shape(name))))
        stored = self._slice(largest).get_dtype()
        if stored not in _DTYPES:
            raise UserError(f"{self.folder}: tensors of type {stored} are not supported")
        return _DTYPES[stored]

    @property
    def generation_config(self) -> dict[str, Any]:
        """The parsed `generation_config.json`, empty where there is none."""
        path = self.folder / "generation_config.json"
        return read_json(path) if path.is_file() else {}


def write_weights(
    folder: Path, params: Params, config: LlamaConfig, dtype: str, shard_bytes: int = SHARD_BYTES
) -> None:
    """Writes `config.json` and the weights as safetensors, sharded above `shard_bytes`.

    One shard's tensors are in memory at a time, beside `params`.
    """
    write_json(folder / "config.json", config.to_hf(dtype))
    shards = list(_plan(params, config, dtype, shard_bytes))
    if len(shards) == 1:
        _write_shard(folder / "model.safetensors", shards[0])
        return
    weight_map, total = {}, 0
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        total += _write_shard(folder / file, shard)
        weight_map.update({name: file for name, _ in shard})
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(folder / "model.safetensors.index.json", index)


def _plan(params: Params, config: LlamaConfig, dtype: str, limit: int) -> Iterator[list]:
    shard, size = [], 0
    for name, shape, make in export_tensors(params, config, jnp.dtype(dtype)):
        bytes_ = int(np.prod(shape)) * jnp.dtype(dtype).itemsize
        if shard and size + bytes_ > limit:
            yield shard
            shard, size = [], 0
        shard.append((name, make))
        size += bytes_
    yield shard


def _write_shard(path: Path, shard: list) -> int:
    tensors = {name: make() for name, make in shard}
    # transformers refuses a file whose metadata doesn't name the framework.
    safetensors.numpy.save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)  # the library makes files that their owner alone can read
    return sum(tensor.nbytes for tensor in tensors.values())
