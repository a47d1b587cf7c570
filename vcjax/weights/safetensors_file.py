"""One safetensors file, read and written a tensor at a time.

The safetensors library maps a file, where every page that was read counts as resident memory, and
writes from all of a file's tensors at once. Here a tensor is read at its offset, and written in
blocks of rows: the documented figures of host memory rest on that. The library still checks what is
read, and its files are these, byte for byte.

Source of the format: https://github.com/huggingface/safetensors#format
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open

from vcjax.core.errors import UserError
from vcjax.core.progress import Progress
from vcjax.core.stores import is_remote, read_range, size_of
from vcjax.weights.mapping import Bounds

NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}
DTYPES = {name: dtype for dtype, name in NAMES.items()}
# Bytes of whole rows that are in memory at a time.
BLOCK_BYTES = 64 * 1024**2
# From this width on a row's part is worth a read of its own; see `read_part`.
PIECE_BYTES = 64 * 1024


class Stored(NamedTuple):
    """What a header states of a tensor: its file, dtype as the format names it, shape, offset."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int  # from the start of the file


def read_header(path: Path) -> dict[str, Stored]:
    """Reads the offsets of all tensors in a file.

    Raises:
      UserError: the file is truncated or corrupt.
    """
    try:
        with _checkable(path) as here, safe_open(here, framework="np"):
            pass  # it has checked the header against itself and against the file's size
    except SafetensorError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: truncated or corrupt ({reason})") from None
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    header.pop("__metadata__", None)
    # Offsets in the header count from its end.
    start = 8 + length
    return {
        name: Stored(path, info["dtype"], tuple(info["shape"]), start + info["data_offsets"][0])
        for name, info in header.items()
    }


@contextmanager
def _checkable(path: Path) -> Iterator[Path]:
    """A file that the library can map; for one in a store its header and a hole of its size."""
    if not is_remote(path):
        yield path
        return
    with NamedTemporaryFile(prefix="vcjax-") as copy:
        size = size_of(path)
        length = int.from_bytes(start := read_range(path, 0, 8), "little")
        copy.write(start + read_range(path, 8, min(length, size)))
        copy.truncate(size)
        copy.flush()
        yield Path(copy.name)


def read_tensor(stored: Stored) -> np.ndarray:
    """Reads one tensor in its stored dtype.

    Raises:
      UserError: a dtype that weights don't have.
    """
    return _read(stored, 0, stored.shape)


def read_part(stored: Stored, bounds: Bounds) -> np.ndarray:
    """Reads what is between `bounds` of a tensor of one or two axes, in its stored dtype.

    Columns of at least PIECE_BYTES are read a row at a time, and nothing beside them. Narrower
    ones are cut from blocks of whole rows: a disk reads those as fast, a bucket much faster.

    Raises:
      UserError: a dtype that weights don't have.
    """
    (first, last), *columns = bounds
    if not columns:
        return _read(stored, first, (last - first,))
    ((start, stop),), width = columns, stored.shape[1]
    # A matrix is stored row by row, so whole rows are one run of bytes.
    if stop - start == width:
        return _read(stored, first * width, (last - first, width))
    size = _dtype(stored).itemsize
    part = np.empty((last - first, stop - start), _dtype(stored))
    if part[:1].nbytes >= PIECE_BYTES:
        for row in range(first, last):
            part[row - first] = _read(stored, row * width + start, (stop - start,))
        return part
    rows = max(1, BLOCK_BYTES // (width * size))
    for begin in range(first, last, rows):
        end = min(begin + rows, last)
        block = _read(stored, begin * width, (end - begin, width))
        part[begin - first : end - first] = block[:, start:stop]
    return part


def write_file(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    dtype: str,
    tensor: Callable[[str], np.ndarray],
    bar: Progress,
) -> None:
    """Writes a file of tensors in one dtype.

    Args:
      shapes: of the tensors, by name.
      tensor: gives a tensor by its name, in any float dtype and layout; called once for each.
      bar: counts the bytes that were written.
    """
    size = jnp.dtype(dtype).itemsize
    # transformers refuses a file whose metadata doesn't name the framework.
    header: dict[str, dict] = {"__metadata__": {"format": "pt"}}
    end = 0
    # By name, as the library orders tensors of one dtype.
    for name, shape in sorted(shapes.items()):
        begin, end = end, end + math.prod(shape) * size
        info = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
        header[name] = info
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name in sorted(shapes):
            for block in _blocks(tensor(name), dtype):
                stream.write(block)
                bar.update(len(block))


def _dtype(stored: Stored) -> Any:
    if stored.dtype not in DTYPES:
        folder = stored.path.parent
        raise UserError(f"{folder}: tensors of type {stored.dtype} are not supported")
    return jnp.dtype(DTYPES[stored.dtype])


def _read(stored: Stored, begin: int, shape: tuple[int, ...]) -> np.ndarray:
    """Elements in C order, from the one numbered `begin` on."""
    dtype = _dtype(stored)
    # As bytes: NumPy's file functions know no bfloat16.
    size, offset = math.prod(shape) * dtype.itemsize, stored.offset + begin * dtype.itemsize
    if is_remote(stored.path):
        data = np.frombuffer(read_range(stored.path, offset, size), np.uint8)
    else:
        data = np.fromfile(stored.path, np.uint8, size, offset=offset)
    return data.view(dtype).reshape(shape)


def _blocks(tensor: np.ndarray, dtype: str) -> Iterator[memoryview]:
    """The tensor's bytes in C order, a block of rows at a time: it may be a transposed view."""
    row = tensor[:1].size * jnp.dtype(dtype).itemsize
    rows = max(1, BLOCK_BYTES // row)
    for start in range(0, len(tensor), rows):
        block = np.ascontiguousarray(tensor[start : start + rows], jnp.dtype(dtype))
        yield block.view(np.uint8).data.cast("B")
