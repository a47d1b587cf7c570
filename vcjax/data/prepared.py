"""Prepared datasets: rows on disk as a TFDS dataset of ArrayRecord shards, without TensorFlow.

`vcjax.data.preparation` makes a folder of them from records; here its rows are written and read.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from vcjax.core.errors import UserError
from vcjax.core.files import hash_text, read_json
from vcjax.data.files import is_prepared
from vcjax.data.packing import DTYPES, Row
from vcjax.text.tokenizer import Tokenizer

PAIRED = "preferences"
NO_DOMAIN = "none"
"""What a summary counts records without a domain under."""

TRAIN, VALIDATION = "train", "validation"
"""The splits; a folder that isn't of `launch.prepare` has the first alone."""

_NAME, _VERSION = "rows", "1.0.0"
SHARD_BYTES = 1 << 28  # of rows in memory; a shard on disk is smaller


@dataclass(frozen=True)
class Prepared:
    """Random access to the rows of a prepared folder.

    Attributes:
      source: the rows, in the order in which they were made.
      summary: what `prepare` counted.
      folder: the prepared folder; None for rows that are in no folder.
      split: of the folder, which the rows are.
    """

    source: Sequence[Row]
    summary: Mapping[str, Any]
    folder: Path | None = None
    split: str = TRAIN

    @property
    def length(self) -> int:
        """Tokens of a row."""
        return self.summary["length"]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Row:
        """Row `index`: `tokens, segment_ids, positions` int32 and `loss_mask` bool, `[length]`, or
        `[2, length]` for preferences."""
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return {name: np.asarray(value) for name, value in self.source[index].items()}


def open_prepared(folder: str | os.PathLike, split: str = TRAIN) -> Prepared:
    """Opens a folder that `launch.prepare` or a training run wrote.

    Raises:
      UserError: the folder isn't a prepared dataset, its files don't belong together, or it has no
        such split.
    """
    folder = Path(folder)
    if not is_prepared(str(folder)):
        what = "not a prepared dataset" if folder.is_dir() else "no such folder"
        raise UserError(
            f"{folder}: {what}; `launch.prepare` makes one, and `launch.train` prepares raw files "
            "itself, into its workdir"
        )
    summary = read_json(folder / "summary.json")
    source = _open_rows(folder, split)
    rows = summary
    if isinstance(summary, dict) and split != TRAIN:
        rows = summary.get(split)
    if not isinstance(rows, dict) or rows.get("rows") != len(source):
        raise UserError(f"{folder}: summary.json doesn't belong to the rows; prepare it again")
    return Prepared(source, {**summary, **rows}, folder, split)


def hash_tokenizer(tokenizer: Tokenizer) -> str:
    """SHA-256 of what decides the ids: vocabulary, rules, special tokens and chat template."""
    parts = [
        tokenizer.backend.backend_tokenizer.to_str(),
        tokenizer.bos_id,
        tokenizer.eos_id,
        tokenizer.adds_bos,
        tokenizer.chat_template,
        # Added later: what was prepared without them is as it was.
        *([tokenizer.template_options] if tokenizer.template_options else []),
        *([tokenizer.system] if tokenizer.system != "template" else []),
    ]
    return hash_text(json.dumps(parts, ensure_ascii=False))


class RowShard:
    """Writes rows whose arrays have `shape` into one ArrayRecord file; a context manager.

    Attributes:
      rows: written so far.
      size: of them as they are serialised, in bytes; compressed in the file, they are fewer.
    """

    def __init__(self, path: str | os.PathLike, shape: tuple[int, ...]) -> None:
        from array_record.python.array_record_module import ArrayRecordWriter

        self._frame = _Frame(shape)
        # A group is decompressed as a whole; training reads rows at random, one from each.
        self._writer = ArrayRecordWriter(os.fspath(path), "group_size:1")
        self.rows = self.size = 0

    def write(self, rows: Iterable[Row]) -> None:
        """Adds rows, in their order."""
        for row in rows:
            encoded = self._frame.serialise(row)
            self._writer.write(encoded)
            self.rows += 1
            self.size += len(encoded)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._writer.close()


def shard_name(split: str, number: int) -> str:
    """The name of a shard's file in a prepared folder."""
    return f"{_NAME}-{split}.array_record-{number:05}"


def write_info(
    folder: Path, shape: tuple[int, ...], shards: Mapping[str, Sequence[tuple[int, int]]]
) -> None:
    """Makes a folder with shards a TFDS dataset, which `tfds.builder_from_directory` opens.

    Args:
      shards: by split, rows and size of each shard, in the order of their numbers.
    """
    import tensorflow_datasets as tfds
    from etils import epath
    from tensorflow_datasets.core.splits import SplitDict

    identity = tfds.core.DatasetIdentity(
        name=_NAME,
        version=tfds.core.Version(_VERSION),
        data_dir=str(folder),
        module_name="vcjax",
    )
    info = tfds.core.DatasetInfo(
        builder=identity, features=_features(shape), description="Rows of tokens."
    )
    info.set_file_format("array_record")
    info.set_splits(
        SplitDict(
            [
                tfds.core.SplitInfo(
                    name=split,
                    shard_lengths=[rows for rows, _ in found],
                    num_bytes=sum(size for _, size in found),
                    filename_template=tfds.core.ShardedFileTemplate(
                        dataset_name=_NAME,
                        data_dir=epath.Path(folder),
                        split=split,
                        filetype_suffix="array_record",
                        template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}",
                    ),
                )
                for split, found in shards.items()
            ]
        )
    )
    info.write_to_directory(folder)


def _features(shape: tuple[int, ...]) -> Any:
    import tensorflow_datasets as tfds

    # As bytes: written in a third of the time that lists of numbers take.
    return tfds.features.FeaturesDict(
        {
            name: tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")
            for name, dtype in DTYPES.items()
        }
    )


class _Frame:
    """Rows of one shape as TFDS serialises them: a `tf.train.Example` of four byte strings.

    What stands around the arrays is the same in each row, so it is made once. TFDS's own serialiser
    makes a message object of each row, and takes eight times as long; the bytes are the same.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        sizes = {name: math.prod(shape) * dtype.itemsize for name, dtype in DTYPES.items()}
        self._names = sorted(DTYPES)  # the order of a map that is serialised deterministically
        # Example.features -> Features.feature, a map: entries of a key and a Feature, whose
        # bytes_list has one value.
        heads, size = [], 0
        for name in self._names:
            value = _head(1, sizes[name])
            value = _head(1, len(value) + sizes[name]) + value
            value = _head(2, len(value) + sizes[name]) + value
            entry = _head(1, len(name)) + name.encode() + value
            heads.append(_head(1, len(entry) + sizes[name]) + entry)
            size += len(heads[-1]) + sizes[name]
        self._heads = [_head(1, size) + heads[0], *heads[1:]]

    def serialise(self, row: Row) -> bytes:
        parts = []
        for name, head in zip(self._names, self._heads, strict=True):
            array = row[name]
            if array.shape != self._shape or array.dtype != DTYPES[name]:
                raise ValueError(f"{name}: {array.dtype}{array.shape} in rows of {self._shape}")
            parts += (head, array.tobytes())
        return b"".join(parts)


def _head(field: int, size: int) -> bytes:
    """What comes before `size` bytes that are a field of a protocol buffer: tag and length."""
    found = bytearray([field << 3 | 2])
    while size > 0x7F:
        found.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*found, size])


class RowWriter:
    """Writes rows of one split into a folder; a context manager, closed at its end."""

    def __init__(self, folder: Path, shape: tuple[int, ...]) -> None:
        self._folder, self._shape = folder, shape
        row_bytes = math.prod(shape) * sum(dtype.itemsize for dtype in DTYPES.values())
        self._most = max(1, SHARD_BYTES // row_bytes)
        self._shard: RowShard | None = None
        self._closed: list[tuple[int, int]] = []

    def write(self, rows: Iterable[Row]) -> None:
        """Adds rows, in their order."""
        for row in rows:
            if self._shard is None:
                name = shard_name(TRAIN, len(self._closed))
                self._shard = RowShard(self._folder / name, self._shape).__enter__()
            self._shard.write([row])
            if self._shard.rows == self._most:
                self._close()

    def _close(self) -> None:
        if self._shard is not None:
            self._shard.__exit__()
            self._closed.append((self._shard.rows, self._shard.size))
            self._shard = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._close()
        if error is None:
            write_info(self._folder, self._shape, {TRAIN: self._closed})


def _open_rows(folder: Path, split: str) -> Sequence[Row]:
    """Random access to the rows of a split.

    Raises:
      UserError: shards are missing or can't be read.
    """
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder_from_directory(str(folder))
    if split not in builder.info.splits:
        raise UserError(
            f"{folder}: has no split {split!r}; it has {', '.join(builder.info.splits)}"
        )
    missing = [path for path in builder.info.splits[split].filepaths if not Path(path).is_file()]
    if missing:
        raise UserError(f"{folder}: {Path(missing[0]).name} is missing; prepare it again")
    return builder.as_data_source(split=split)
