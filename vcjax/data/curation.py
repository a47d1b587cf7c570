"""Exact deduplication by normalised text."""

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator

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

    def __init__(self, records: Iterable[Record]):
        self._records = records
        self.duplicates = 0

    def __iter__(self) -> Iterator[Record]:
        seen: set[bytes] = set()
        self.duplicates = 0
        for record in self._records:
            key = fingerprint(record)
            if key in seen:
                self.duplicates += 1
            else:
                seen.add(key)
                yield record
