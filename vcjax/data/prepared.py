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

_NAME, _VERSION, _SPLIT = "rows", "1.0.0", "train"
SHARD_BYTES = 1 << 28  # of rows in memory; a shard on disk is smaller
CHUNK = 256  # rows given to TFDS at once: it rewrites its metadata each time


@dataclass(frozen=True)
class Prepared:
    """Random access to the rows of a prepared folder.

    Attributes:
      source: the rows, in the order in which they were made.
      summary: what `prepare` counted.
      folder: the prepared folder; None for rows that are in no folder.
    """

    source: Sequence[Row]
    summary: Mapping[str, Any]
    folder: Path | None = None

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


def open_prepared(folder: str | os.PathLike) -> Prepared:
    """Opens a folder that `prepare` wrote.

    Raises:
      UserError: the folder isn't a prepared dataset, or its files don't belong together.
    """
    folder = Path(folder)
    if not is_prepared(str(folder)):
        what = "not a prepared dataset" if folder.is_dir() else "no such folder"
        raise UserError(
            f"{folder}: {what}; `launch.train` prepares raw files itself, into its workdir"
        )
    summary = read_json(folder / "summary.json")
    source = _open_rows(folder)
    if not isinstance(summary, dict) or summary.get("rows") != len(source):
        raise UserError(f"{folder}: summary.json doesn't belong to the rows; prepare it again")
    return Prepared(source, summary, folder)


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


class RowWriter:
    """Writes rows whose arrays have `shape` into a folder; a context manager, closed at its end."""

    def __init__(self, folder: Path, shape: tuple[int, ...]):
        # Imported here, as it costs a second that reading records needn't pay.
        import tensorflow_datasets as tfds

        identity = tfds.core.DatasetIdentity(
            name=_NAME,
            version=tfds.core.Version(_VERSION),
            data_dir=str(folder),
            module_name="vcjax",
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
        self._writer.initialize_splits([_SPLIT])
        self._waiting: list[Row] = []

    def write(self, rows: Iterable[Row]) -> None:
        """Adds rows, in their order."""
        self._waiting += rows
        if len(self._waiting) >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.add_examples({_SPLIT: self._waiting})
            self._waiting = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind, error, trace) -> None:
        if error is None:
            self._flush()
        self._writer.close_all()


def _open_rows(folder: Path) -> Sequence[Row]:
    """Random access to the rows of a folder.

    Raises:
      UserError: shards are missing or can't be read.
    """
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder_from_directory(str(folder))
    missing = [path for path in builder.info.splits[_SPLIT].filepaths if not Path(path).is_file()]
    if missing:
        raise UserError(f"{folder}: {Path(missing[0]).name} is missing; prepare it again")
    return builder.as_data_source(split=_SPLIT)
