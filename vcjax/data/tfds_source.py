"""TFDS datasets as data files: `tfds:NAME[@SPLIT]`, read by index and without TensorFlow.

NAME is what `tfds.builder` takes (`my_corpus`, `my_corpus/config:1.0.0`, in `$TFDS_DATA_DIR`), or a
folder that `tfds.builder_from_directory` opens. The split is `train` where none is named, and may
be a part of one (`train[:10%]`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vcjax.core.errors import UserError

PREFIX = "tfds:"
_AT_ONCE = 256  # rows that are read together


def opened(name: str) -> tuple[Any, str]:
    """The builder of a dataset that is on this machine, and the split that is meant.

    Raises:
      UserError: there is no such dataset or split, or it isn't stored in a form that is read by
        index.
    """
    import tensorflow_datasets as tfds

    dataset, _, split = name.removeprefix(PREFIX).partition("@")
    split = split or "train"
    if Path(dataset).is_dir():
        try:
            builder: Any = tfds.builder_from_directory(dataset)
        except OSError as error:
            raise UserError(f"{name}: no TFDS dataset ({_first_line(error)})") from None
    else:
        try:
            builder = tfds.builder(dataset)
        except (tfds.core.DatasetNotFoundError, ValueError, AssertionError) as error:
            raise UserError(
                f"{name}: no TFDS dataset of this name ({_first_line(error)}); set TFDS_DATA_DIR "
                "or name its folder"
            ) from None
    if split.partition("[")[0] not in builder.info.splits:
        known = ", ".join(builder.info.splits) or "none: it isn't generated"
        raise UserError(f"{name}: has no split {split!r}; it has {known}")
    form = getattr(builder.info.file_format, "value", "")
    if form != "array_record":
        raise UserError(
            f"{name}: is stored as {form}, which TensorFlow alone reads; generate it with "
            "file_format='array_record'"
        )
    return builder, split


def size_of_split(name: str) -> int:
    """Bytes of a split as its rows are serialised."""
    builder, split = opened(name)
    return int(builder.info.splits[split.partition("[")[0]].num_bytes)


def read_rows(name: str) -> Iterator[dict[str, Any]]:
    """Yields the rows of a split: bytes as str, arrays as lists, sequences of dicts as lists."""
    builder, split = opened(name)
    source = builder.as_data_source(split=split)
    for start in range(0, len(source), _AT_ONCE):
        for row in source.__getitems__(range(start, min(start + _AT_ONCE, len(source)))):
            # TFDS has no missing values: an empty text stands for one.
            plain = {field: _plain(value) for field, value in row.items()}
            yield {field: value for field, value in plain.items() if value != ""}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="surrogateescape")  # which the schema refuses
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        fields = {name: _plain(each) for name, each in value.items()}
        # TFDS stores a sequence of objects as an object of sequences.
        if fields and all(isinstance(each, list) for each in fields.values()):
            rows = zip(*fields.values(), strict=True)
            return [dict(zip(fields, row, strict=True)) for row in rows]
        return fields
    return value


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().partition("\n")[0]
