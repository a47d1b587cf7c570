"""The header of a GGUF file: typed metadata, and a reader whose failures name the file.

Source of the format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import gguf
import numpy as np

from vcjax.core.errors import UserError

T = TypeVar("T", bool, int, float, str, list)


@dataclass(frozen=True)
class Metadata:
    """Key-value pairs of one file. Asking for a key also checks the type of its value."""

    path: Path
    values: Mapping[str, Any]

    def optional(self, key: str, kind: type[T]) -> T | None:
        """Returns the value, or None where the key is absent; a wrong type is a UserError."""
        value = self.values.get(key)
        if kind is float and type(value) is int:
            value = float(value)
        # `type(...) is`, because isinstance takes True for an integer.
        if value is not None and type(value) is not kind:
            raise UserError(
                f"{self.path}: metadata {key!r} is of type {type(value).__name__}, "
                f"not {kind.__name__}; convert the model again"
            )
        return cast(T | None, value)

    def required(self, key: str, kind: type[T]) -> T:
        """Returns the value; a missing key is a UserError."""
        value = self.optional(key, kind)
        if value is None:
            raise UserError(f"{self.path}: metadata {key!r} is missing; convert the model again")
        return value


def open_gguf(path: str | os.PathLike) -> tuple[Metadata, list[gguf.ReaderTensor]]:
    """Reads the header; the tensors' data stay on disk behind a memory map.

    Raises:
      UserError: no such file, not a GGUF file, a truncated one, one part of a split model, a
        big-endian file, or a tensor whose type `gguf` can't dequantise.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from None
    if magic != b"GGUF":
        raise UserError(f"{path}: not a GGUF file; one starts with the bytes 'GGUF'")
    try:
        reader = gguf.GGUFReader(path)
        values = {key: _value(field) for key, field in reader.fields.items()}
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        # The reader slices the map without bounds checks, so a short file ends in any of these.
        raise UserError(
            f"{path}: unreadable as GGUF ({error}); truncated? download it again"
        ) from error
    metadata = Metadata(path, values)
    if reader.byte_order != "I":
        raise UserError(f"{path}: its byte order isn't this machine's; convert the model again")
    if (metadata.optional("split.count", int) or 1) > 1:
        raise UserError(
            f"{path}: one part of a split model; join the parts first with "
            f"`llama-gguf-split --merge`"
        )
    for tensor in reader.tensors:
        _check_type(path, tensor)
    return metadata, reader.tensors


def _value(field: gguf.ReaderField) -> Any:
    """Decodes a field; a float32 becomes the shortest decimal that has the same float32 value.

    Converters store config.json's 1e-5 as float32; widened to float64 that is 9.99999974e-06,
    which no longer equals the original config.
    """
    value = field.contents()
    if field.types == [gguf.GGUFValueType.FLOAT32]:
        return float(str(np.float32(value)))
    return value


def _check_type(path: Path, tensor: gguf.ReaderTensor) -> None:
    # The package has no list of what it can dequantise, so one block of zeros asks it.
    size = gguf.GGML_QUANT_SIZES[tensor.tensor_type][1]
    try:
        gguf.quants.dequantize(np.zeros((1, size), np.uint8), tensor.tensor_type)
    except NotImplementedError:
        raise UserError(
            f"{path}: tensor {tensor.name!r} is stored as {tensor.tensor_type.name}, which can't "
            f"be dequantised; use another quantisation of this model"
        ) from None
