"""Whether what a run measures on is in what it trains on: by hash, and by similarity.

A prepared folder has a trace of each record, by which it is found again: its digest in
`digests.bin`, and a sample of its text in `samples.jsonl.zst`. Folders of earlier versions lack one
or both; there the samples are decoded from the rows.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Self

import numpy as np

from vcjax.core.errors import UserError
from vcjax.data.digests import SIZE, Digests, fingerprint
from vcjax.data.files import DataFile
from vcjax.data.near_duplicates import StoredNearDuplicates
from vcjax.data.packing import Row
from vcjax.data.prepared import TRAIN, Prepared
from vcjax.data.readers import read_items
from vcjax.data.records import ROLES, Preference, Record
from vcjax.text.tokenizer import Tokenizer

DIGESTS = "digests.bin"
"""Digests of the records that the rows are made of, `SIZE` bytes each."""
SAMPLES = "samples.jsonl.zst"
"""Samples of the same records, in the same order, as compressed lines of JSON."""

# Once: `json.dumps` with options makes an encoder for each call.
_encode = json.JSONEncoder(ensure_ascii=False).encode
_BLOCK = 1 << 16  # digests that are read at once
_SIDE = 500  # characters of each end of a text
LEAST_PIECE = 64
"""Tokens of a piece of a document by which it may be found again."""

Sample = tuple[str, str]
"""A name of the record, and the sample of its text."""
Trace = tuple[bytes | None, Sample | None]
"""The digest of a record and its sample, as far as a prepared folder has them."""


class HeldOutRecords:
    """The traces of records that are measured on; on disk, for any number of them.

    Exact duplicates are found by hash, as in deduplication. Similar ones by the character 5-grams
    of the first and the last 500 characters (`vcjax.data.near_duplicates.similarity`), without
    system messages, which many conversations share.
    """

    def __init__(self, similarity: float, tokenizer: Tokenizer) -> None:
        """Opens the database.

        Args:
          similarity: the least that counts, 0.7 or more; 1 is exact duplicates alone.
          tokenizer: that the prepared folders were made with.
        """
        self._digests = Digests()
        self._similar = StoredNearDuplicates(similarity) if similarity < 1 else None
        self._tokenizer = tokenizer
        self.count = 0

    def add(self, record: Record) -> None:
        """Adds a record that is measured on."""
        self._add(fingerprint(record), sample_of(record))

    def add_prepared(self, part: Prepared) -> None:
        """Adds the records of a prepared dataset."""
        for digest, sample in self._traces(part):
            self._add(digest, sample)

    def find(self, record: Record) -> str | None:
        """Which of them a record is, in words; None where it is none of them."""
        return self._find(fingerprint(record), sample_of(record))

    def find_prepared(self, part: Prepared) -> Iterator[str]:
        """Yields, in words, which of them the records of a prepared dataset are."""
        exact = False
        for digest, sample in self._traces(part):
            if exact and digest is None:
                # A folder of an earlier version: its rows are of the records whose digests came
                # before, so each would be reported a second time.
                return
            if (what := self._find(digest, sample)) is not None:
                exact = exact or digest is not None
                yield what

    def close(self) -> None:
        self._digests.close()
        if self._similar is not None:
            self._similar.close()

    def _add(self, digest: bytes | None, sample: Sample | None) -> None:
        self.count += 1
        if digest is not None:
            self._digests.add(digest)
        if self._similar is not None and sample is not None:
            self._similar.add(*sample)

    def _find(self, digest: bytes | None, sample: Sample | None) -> str | None:
        name = "a record" if sample is None else f"record {sample[0]!r}"
        if digest is not None and digest in self._digests:
            return f"{name} is one of them"
        if self._similar is None or sample is None:
            return None
        like = self._similar.first_match(sample[1])
        return None if like is None else f"{name} is nearly {like!r}"

    def _traces(self, part: Prepared) -> Iterator[Trace]:
        """Yields one of each record; of a folder of an earlier version those of its digests, if it
        has any, then those of its rows."""
        if (folder := _trace_folder(part)) is None:
            return
        if _has_samples(folder):
            yield from read_traces(folder)
            return
        if (folder / DIGESTS).is_file():
            yield from ((digest, None) for digest in _read_digests(folder / DIGESTS))
        if self._similar is not None:
            kind, cut = part.summary["kind"], part.summary.get("split", 0)
            rows = samples_of_rows(part.source, kind, self._tokenizer, in_pieces=cut > 0)
            yield from ((None, sample) for sample in rows)


def left_uncompared(part: Prepared, similarity: float) -> str | None:
    """What of a prepared folder can't be found again, in words; None where all of it can be.

    That is so in folders of earlier versions alone, which have no samples of their records.
    """
    folder = _trace_folder(part)
    if folder is None or _has_samples(folder):
        return None
    if similarity == 1:
        return None if (folder / DIGESTS).is_file() else "its records aren't compared"
    if cut := part.summary.get("split", 0):
        return (
            f"{cut} documents longer than a row are compared in parts, and those under "
            f"{LEAST_PIECE} tokens aren't"
        )
    if cut := part.summary.get("truncated", 0):
        return f"{cut} records longer than a row are compared without their end"
    return None


# --- traces of records in a prepared folder ------------------------------------------------------


class TraceWriter:
    """Writes the traces of records into a folder; a context manager."""

    def __init__(self, folder: Path) -> None:
        import pyarrow

        self._digests = (folder / DIGESTS).open("wb")
        self._samples = pyarrow.CompressedOutputStream(str(folder / SAMPLES), "zstd")

    def add(self, record: Record, digest: bytes) -> None:
        """Args: `digest` is the record's `fingerprint`."""
        name, text = sample_of(record)
        line = _encode({"id": name, "text": text})
        self._digests.write(digest[:SIZE])
        self._samples.write(line.encode() + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._digests.close()
        self._samples.close()


def read_traces(folder: Path) -> Iterator[tuple[bytes, Sample]]:
    """Yields the traces that a `TraceWriter` wrote.

    Raises:
      UserError: a file is damaged, or the two aren't of the same records.
    """
    for digest, sample in zip_longest(_read_digests(folder / DIGESTS), _read_samples(folder)):
        if digest is None or sample is None or len(digest) < SIZE:
            raise UserError(
                f"{folder}: {DIGESTS} and {SAMPLES} aren't of the same records; prepare it again"
            )
        yield digest, sample


def sample_of(record: Record) -> Sample:
    """The first and the last 500 characters of a record, without system messages, which many
    conversations share; of a preference with the chosen answer."""
    texts = [getattr(record, "text", "")]
    texts += [m["content"] for m in getattr(record, "messages", ()) if m["role"] != "system"]
    if isinstance(record, Preference):
        texts.append(record.chosen)
    return record.id, _ends("\n".join(texts))


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
                text = _conversation_text(ids, special, tokenizer)
            yield f"segment {segment} of row {number}", _ends(text)


def _conversation_text(ids: np.ndarray, special: np.ndarray, tokenizer: Tokenizer) -> str:
    """The messages of a rendered conversation, without those of the system."""
    role, texts = "", []
    start = 0
    for between, run in groupby(np.isin(ids, special).tolist()):
        stop = start + len(list(run))
        text = "" if between else tokenizer.decode(ids[start:stop].tolist()).strip()
        start = stop
        first, _, rest = text.partition("\n")
        if first.strip().lower() in ROLES:
            role, text = first.strip().lower(), rest.strip()
        if text and role != "system":
            texts.append(text)
    return "\n".join(texts)


def _ends(text: str) -> str:
    return text if len(text) <= 2 * _SIDE else text[:_SIDE] + text[-_SIDE:]


def _trace_folder(part: Prepared) -> Path | None:
    """Where the traces of a part are: in its folder, or in one of its split's name there."""
    if part.folder is None or part.split == TRAIN:
        return part.folder
    return part.folder / part.split


def _has_samples(folder: Path) -> bool:
    return (folder / SAMPLES).is_file() and (folder / DIGESTS).is_file()


def _read_digests(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK * SIZE):
            yield from (block[start : start + SIZE] for start in range(0, len(block), SIZE))


def _read_samples(folder: Path) -> Iterator[Sample]:
    path = folder / SAMPLES
    for item in read_items(DataFile(str(path), ".jsonl", ".zst")):
        if item.error is not None:
            raise UserError(f"{path}:{item.position}: {item.error}; prepare its folder again")
        yield item.value["id"], item.value["text"]
