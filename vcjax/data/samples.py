"""Samples of records' texts, by which a record that has changed a little is found again.

A prepared folder has one of each of its records. Folders of earlier versions don't: there the texts
are read back from the rows.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Self

import numpy as np

from vcjax.core.errors import UserError
from vcjax.data.files import DataFile
from vcjax.data.items import read_items
from vcjax.data.packing import Row
from vcjax.data.records import ROLES, Preference, Record
from vcjax.text.tokenizer import Tokenizer

_SIDE = 500  # characters of each end of a text
LEAST_PIECE = 64
"""Tokens of a piece of a document by which it may be found again."""

Sample = tuple[str, str]
"""What the record is called, and the sample of its text."""


def sample_of(record: Record) -> Sample:
    """The first and the last 500 characters of a record, without system messages, which many
    conversations share; of a preference with the chosen answer."""
    texts = [getattr(record, "text", "")]
    texts += [m["content"] for m in getattr(record, "messages", ()) if m["role"] != "system"]
    if isinstance(record, Preference):
        texts.append(record.chosen)
    return record.id, _ends("\n".join(texts))


class SampleWriter:
    """Writes samples into a file, compressed, as lines of JSON; a context manager."""

    def __init__(self, path: Path) -> None:
        import pyarrow

        self._stream = pyarrow.CompressedOutputStream(str(path), "zstd")

    def add(self, sample: Sample) -> None:
        name, text = sample
        line = json.dumps({"id": name, "text": text}, ensure_ascii=False)
        self._stream.write(line.encode() + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stream.close()


def read_samples(path: Path) -> Iterator[Sample]:
    """The samples in a file of `SampleWriter`, one after the other.

    Raises:
      UserError: the file is damaged.
    """
    for item in read_items(DataFile(str(path), ".jsonl", ".zst")):
        if item.fault is not None:
            raise UserError(f"{path}:{item.place}: {item.fault}; prepare its folder again")
        yield item.value["id"], item.value["text"]


def samples_of_rows(
    rows: Sequence[Row], kind: str, tokenizer: Tokenizer, in_pieces: bool
) -> Iterator[Sample]:
    """Samples of what is in rows: each segment is a record, or the part of one that is left.

    Of a conversation the special tokens and the role's names between them are left out, and so are
    system messages; of a preference the chosen answer is taken.

    Args:
      in_pieces: whether documents longer than a row were cut into several segments. Short ones
        are then left out: the last words of a document are the same in many.
    """
    special = np.array(sorted(tokenizer.special_tokens.values()), np.int64)
    for number in range(len(rows)):
        row = rows[number]
        tokens, segments = (np.atleast_2d(row[name])[0] for name in ("tokens", "segment_ids"))
        for segment in range(1, int(segments.max()) + 1):
            ids = tokens[segments == segment]
            if in_pieces and len(ids) < LEAST_PIECE:
                continue
            if kind == "documents":
                text = tokenizer.decode(ids.tolist())
            else:
                text = _said(ids, special, tokenizer)
            yield f"segment {segment} of row {number}", _ends(text)


def _said(ids: np.ndarray, special: np.ndarray, tokenizer: Tokenizer) -> str:
    """The messages of a rendered conversation, without those of the system."""
    role, said = "", []
    start = 0
    for between, run in groupby(np.isin(ids, special).tolist()):
        stop = start + len(list(run))
        text = "" if between else tokenizer.decode(ids[start:stop].tolist()).strip()
        start = stop
        first, _, rest = text.partition("\n")
        if first.strip().lower() in ROLES:
            role, text = first.strip().lower(), rest.strip()
        if text and role != "system":
            said.append(text)
    return "\n".join(said)


def _ends(text: str) -> str:
    return text if len(text) <= 2 * _SIDE else text[:_SIDE] + text[-_SIDE:]
