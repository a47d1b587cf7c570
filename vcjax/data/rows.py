"""Rows on disk: a TFDS dataset of ArrayRecord shards, written and read without TensorFlow."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from vcjax.core.errors import UserError
from vcjax.data.packing import DTYPES, Row

NAME = "rows"
VERSION = "1.0.0"
SPLIT = "train"
SHARD_BYTES = 1 << 28  # of rows in memory; a shard on disk is smaller
CHUNK = 256  # rows given to TFDS at once: it rewrites its metadata each time


class RowWriter:
    """Writes rows whose arrays have `shape` into a folder; a context manager, closed at its end."""

    def __init__(self, folder: Path, shape: tuple[int, ...]):
        # Imported here, as it costs a second that reading records needn't pay.
        import tensorflow_datasets as tfds

        identity = tfds.core.DatasetIdentity(
            name=NAME, version=tfds.core.Version(VERSION), data_dir=str(folder), module_name="vcjax"
        )
        # As bytes: written in a third of the time that lists of numbers take.
        features = tfds.features.FeaturesDict(
            {
                name: tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")
                for name, dtype in DTYPES.items()
            }
        )
        info = tfds.core.DatasetInfo(
            builder=identity, features=features, description="Rows of tokens."
        )
        row_bytes = math.prod(shape) * sum(dtype.itemsize for dtype in DTYPES.values())
        self._writer = tfds.core.SequentialWriter(
            info,
            max_examples_per_shard=max(1, SHARD_BYTES // row_bytes),
            file_format="array_record",
        )
        self._writer.initialize_splits([SPLIT])
        self._waiting: list[Row] = []

    def write(self, rows: Iterable[Row]) -> None:
        """Takes rows, in their order."""
        self._waiting += rows
        if len(self._waiting) >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.add_examples({SPLIT: self._waiting})
            self._waiting = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind, error, trace) -> None:
        if error is None:
            self._flush()
        self._writer.close_all()


def open_rows(folder: Path) -> Sequence[Row]:
    """Random access to the rows of a folder.

    Raises:
      UserError: shards are missing or can't be read.
    """
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder_from_directory(str(folder))
    missing = [path for path in builder.info.splits[SPLIT].filepaths if not Path(path).is_file()]
    if missing:
        raise UserError(f"{folder}: {Path(missing[0]).name} is missing; prepare it again")
    return builder.as_data_source(split=SPLIT)
