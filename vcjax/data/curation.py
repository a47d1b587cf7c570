"""What is left out before rows are made: exact duplicates, and bad records set aside."""

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TextIO

from vcjax.data.digests import Digests
from vcjax.data.records import Record


def fingerprint(record: Record) -> bytes:
    """Hash of a record's texts after NFC and with every run of white space made one space.

    The id, the source and the domain are not part of it.
    """
    digest = hashlib.sha256()
    for text in record.texts():
        normal = " ".join(unicodedata.normalize("NFC", text).split())
        digest.update(normal.encode() + b"\0")
    return digest.digest()


class Deduplicated:
    """Iterates over the first of each set of exact duplicates, and counts the others.

    Attributes:
      duplicates: how many records have been left out so far.
    """

    def __init__(self, records: Iterable[Record], keep: Callable[[Record, bytes], None]):
        """Args: `keep` is given each record that is left, with its `fingerprint`."""
        self._records, self._keep = records, keep
        self.duplicates = 0

    def __iter__(self) -> Iterator[Record]:
        self.duplicates = 0
        with Digests() as seen:
            for record in self._records:
                digest = fingerprint(record)
                if seen.add(digest):
                    self._keep(record, digest)
                    yield record
                else:
                    self.duplicates += 1


class SetAside:
    """Writes bad records into a file as they come; it is made with its first line.

    Attributes:
      count: of all so far.
      first: the reason of the first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: TextIO | None = None
        self.count = 0
        self.first = ""

    def add(self, bad: Mapping[str, Any]) -> None:
        """Writes `{file, line, reason, raw}`."""
        if self._stream is None:
            # Half of a surrogate pair may be what is wrong: it becomes the escape of JSON for it.
            self._stream = self._path.open("w", encoding="utf-8", errors="backslashreplace")
            self.first = bad["reason"]
        self._stream.write(json.dumps(bad, ensure_ascii=False) + "\n")
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._stream is not None:
            self._stream.close()
