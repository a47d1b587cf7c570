"""Shards: the parts in which a corpus is read, stored between two rounds of steps, and written.

plan_units      files -> units: some small files, one file, or a part of one
DocumentShard   documents of a unit, in an ArrayRecord file, and what passes observed of each
Stored          all shards of a round: documents by their number
"""

import json
import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from secrets import token_hex
from typing import Any, Self

from vcjax.core.files import replaced
from vcjax.data.corpus.document import Document
from vcjax.data.corpus.step import Observed
from vcjax.data.encodings import UTF8, encoding_of
from vcjax.data.files import DataFile, open_bytes, size_of
from vcjax.data.readers import BY_LINE, sampled_by

_GROUP = "group_size:8"  # documents that are compressed together; one is read with the others
_LENGTH = struct.Struct("<I")
_AT_ONCE = 64  # documents that are read together
_OPEN_FILES = 16
_BLOCK = 1 << 20
# Once: `json.dumps` with options makes an encoder for each call.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_FIELDS = tuple(field.name for field in fields(Document))
_SPLITTABLE = (".jsonl", ".ndjson", ".txt")

Unit = list[DataFile]


def plan_units(
    files: Sequence[DataFile], size: int, kind: str, sample_by: str = BY_LINE
) -> list[Unit]:
    """Groups files into units of about `size` bytes, in their order.

    Small files share a unit. A large file of lines is cut into parts, as each of its documents is a
    line; a large one of another form, or one that is compressed, or whose server doesn't say how
    large it is, is a unit of its own.
    """
    units: list[Unit] = []
    waiting: Unit = []
    waited = 0
    for file in files:
        found = size_of(file.name)
        if waiting and (found is None or waited + found > size):
            units.append(waiting)
            waiting, waited = [], 0
        if found is None:
            units.append([file])
        elif found <= size:
            waiting.append(file)
            waited += found
        elif _can_be_cut(file, kind, sample_by):
            units += [[part] for part in _parts(file, found, size)]
        else:
            units.append([file])
    return units + [waiting] * bool(waiting)


def _can_be_cut(file: DataFile, kind: str, sample_by: str) -> bool:
    # Answers that are labelled one by one are paired with others of their file.
    if kind != "documents" or file.compression or file.format not in _SPLITTABLE:
        return False
    if sampled_by(file, sample_by) != BY_LINE:
        return False
    return encoding_of(file) in (UTF8, "gb18030") and not _is_array(file)


def _is_array(file: DataFile) -> bool:
    with file.open() as stream:
        return stream.read(_BLOCK).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


def _parts(file: DataFile, size: int, part: int) -> Iterator[DataFile]:
    """Cuts a file behind the first line end after each multiple of `part` bytes."""
    start = lines = counted = position = 0
    with open_bytes(file.name) as stream:
        while block := stream.read(_BLOCK):
            at = 0
            while position + len(block) >= start + part:
                # A line that ends exactly at the limit belongs to the part before it, hence one
                # byte less.
                end = block.find(b"\n", max(0, start + part - 1 - position))
                if end < 0:
                    break
                counted += block.count(b"\n", at, end + 1)
                at = end + 1
                if position + at == size:
                    break
                yield replace(file, start=start, stop=position + at, lines=lines)
                start, lines = position + at, counted
            counted += block.count(b"\n", at)
            position += len(block)
    yield replace(file, start=start, stop=0, lines=lines)


@dataclass(frozen=True)
class ShardPath:
    """Where a shard is: `<folder>/<name>.documents` and the files beside it."""

    folder: Path
    name: str

    @property
    def documents(self) -> Path:
        return self.folder / f"{self.name}.documents"

    @property
    def counts(self) -> Path:
        """JSON, written last: its shard is whole."""
        return self.folder / f"{self.name}.json"

    def evidence(self, step: str) -> Path:
        return self.folder / f"{self.name}.{step}"

    def temporary(self, step: str) -> Path:
        """A new name for what becomes evidence. On a cluster a task of a killed run may be at work
        on the same shard, and processes of two machines can have the same id."""
        return self.evidence(f"{step}.{token_hex(8)}.tmp")


class DocumentShard:
    """Writes documents, and the evidence of the passes that come next; a context manager.

    Its files take their names at the end of the block, if that ends well.

    Attributes:
      count: documents written so far.
      size: of their texts, in characters.
    """

    def __init__(self, path: ShardPath, passes: Sequence[str]) -> None:
        from array_record.python.array_record_module import ArrayRecordWriter

        self._path = path
        self._temporary = {name: path.temporary(name) for name in passes}
        self._file = path.temporary("documents")
        self._writer = ArrayRecordWriter(str(self._file), _GROUP)
        self._evidence = {name: file.open("wb") for name, file in self._temporary.items()}
        self.count = self.size = 0

    def add(self, document: Document, evidence: Mapping[str, bytes]) -> None:
        """Args: `evidence` of the document, by the name of the pass."""
        self._writer.write(to_json(document))
        for name, stream in self._evidence.items():
            stream.write(_LENGTH.pack(len(evidence[name])) + evidence[name])
        self.count += 1
        self.size += len(document.text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._writer.close()
        for stream in self._evidence.values():
            stream.close()
        for name, file in self._temporary.items():
            _settle(file, self._path.evidence(name), error)
        _settle(self._file, self._path.documents, error)


def _settle(temporary: Path, path: Path, error: object) -> None:
    if error is None:
        temporary.replace(path)
    else:
        temporary.unlink()


def read_documents(path: ShardPath) -> Iterator[Document]:
    """Yields the documents of a shard, in their order."""
    from array_record.python.array_record_module import ArrayRecordReader

    reader = ArrayRecordReader(str(path.documents))
    count = reader.num_records()
    for start in range(0, count, _AT_ONCE):
        for line in reader.read(start, min(start + _AT_ONCE, count)):
            yield from_json(line)


def to_json(document: Document) -> bytes:
    values = {name: getattr(document, name) for name in _FIELDS}
    return _encode(values).encode()


def from_json(line: bytes) -> Document:
    return Document(**json.loads(line))


class Stored:
    """The documents of all shards of a round, numbered from 0 in the order of the shards."""

    def __init__(self, shards: Sequence[ShardPath], counts: Sequence[int]) -> None:
        self.shards = list(shards)
        self.first = [0]
        """Number of the first document of each shard; and of all documents, at the end."""
        for count in counts:
            self.first.append(self.first[-1] + count)
        self._reader = lru_cache(_OPEN_FILES)(_open)

    def __len__(self) -> int:
        return self.first[-1]

    def document(self, number: int) -> Document:
        """Reads one document; a disk access."""
        shard = bisect_right(self.first, number) - 1
        (line,) = self._reader(self.shards[shard].documents).read([number - self.first[shard]])
        return from_json(line)

    def text(self, number: int) -> str:
        return self.document(number).text

    def observed(self, step: str) -> Iterator[Observed]:
        """Yields what a pass observed of each document."""
        number = 0
        for shard in self.shards:
            with shard.evidence(step).open("rb") as stream:
                while head := stream.read(_LENGTH.size):
                    yield Observed(number, stream.read(*_LENGTH.unpack(head)))
                    number += 1


def _open(path: Path) -> Any:
    from array_record.python.array_record_module import ArrayRecordReader

    return ArrayRecordReader(str(path))


def concatenate(parts: Sequence[Path], target: Path) -> None:
    """Writes the bytes of the files that exist into one, whole or not at all."""
    with replaced(target) as temporary, temporary.open("wb") as stream:
        for part in parts:
            if part.is_file():
                with part.open("rb") as source:
                    while block := source.read(_BLOCK):
                        stream.write(block)
