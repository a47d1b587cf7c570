"""Whether what a run measures on is in what it trains on: by hash, and by similarity."""

from collections.abc import Iterator
from pathlib import Path

from vcjax.data.curation import fingerprint
from vcjax.data.digests import SIZE, Digests
from vcjax.data.near_duplicates import NearDuplicates
from vcjax.data.records import Preference, Record

MOST = 50_000
"""Held-out records that others may be similar to: a bound on memory, about 3 KB each."""
_SAMPLE = 500
_BLOCK = 1 << 16


class HeldOutRecords:
    """Records that are measured on, and what they are found again by.

    Exact duplicates are found by hash, as in deduplication. Similar ones by the character 5-grams
    of the first and the last 500 characters (`vcjax.data.near_duplicates.similarity`), without
    system messages, which many conversations share.
    """

    def __init__(self, similarity: float) -> None:
        """Args: `similarity` is the least that counts, 0.7 or more; 1 is exact duplicates alone."""
        self._digests = Digests()
        self._similar = NearDuplicates(similarity) if similarity < 1 else None
        self._ids: list[str] = []
        self.count = 0

    def add(self, record: Record) -> None:
        """Takes in a record that is measured on."""
        self.count += 1
        self._digests.add(fingerprint(record))
        if self._similar is not None and len(self._ids) < MOST:
            self._similar.add(_sample(record))
            self._ids.append(record.id)

    def add_digests(self, path: Path) -> None:
        """Takes in the records of a prepared dataset, by their digests alone."""
        for digest in _read(path):
            self.count += 1
            self._digests.add(digest)

    def find(self, record: Record) -> str | None:
        """What of it a record is, in words; None where it is none."""
        if fingerprint(record) in self._digests:
            return f"record {record.id!r} is one of them"
        if self._similar is None or not self._ids:
            return None
        place = self._similar.first_match(_sample(record))
        return None if place is None else f"record {record.id!r} is nearly {self._ids[place]!r}"

    def count_in(self, path: Path) -> int:
        """How many records of a prepared dataset are among them, by their digests alone."""
        return sum(digest in self._digests for digest in _read(path))

    def close(self) -> None:
        self._digests.close()


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK * SIZE):
            yield from (block[start : start + SIZE] for start in range(0, len(block), SIZE))


def _sample(record: Record) -> str:
    texts = [getattr(record, "text", "")]
    texts += [m["content"] for m in getattr(record, "messages", ()) if m["role"] != "system"]
    if isinstance(record, Preference):
        texts.append(record.chosen)
    text = "\n".join(texts)
    return text if len(text) <= 2 * _SAMPLE else text[:_SAMPLE] + text[-_SAMPLE:]
