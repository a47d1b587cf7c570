"""Whether what a run measures on is in what it trains on: by hash, and by similarity."""

from collections.abc import Iterator
from pathlib import Path

from vcjax.data.curation import fingerprint
from vcjax.data.digests import SIZE, Digests
from vcjax.data.prepared import DIGESTS, SAMPLES, Prepared
from vcjax.data.records import Record
from vcjax.data.samples import LEAST_PIECE, Sample, read_samples, sample_of, samples_of_rows
from vcjax.data.stored_near_duplicates import StoredNearDuplicates
from vcjax.text.tokenizer import Tokenizer

_BLOCK = 1 << 16

Trace = tuple[bytes | None, Sample | None]
"""What is left of a record in a prepared folder: its digest, and the sample of its text."""


class HeldOutRecords:
    """Records that are measured on, and what they are found again by; on disk, however many.

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
        """Takes in a record that is measured on."""
        self._add(fingerprint(record), sample_of(record))

    def add_prepared(self, part: Prepared) -> None:
        """Takes in the records of a prepared dataset."""
        for digest, sample in self._traces(part):
            self._add(digest, sample)

    def find(self, record: Record) -> str | None:
        """What of it a record is, in words; None where it is none."""
        return self._find(fingerprint(record), sample_of(record))

    def find_prepared(self, part: Prepared) -> Iterator[str]:
        """Yields what of it the records of a prepared dataset are, in words."""
        exact = False
        for digest, sample in self._traces(part):
            if exact and digest is None:
                return  # its rows are of the records whose digests came before
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
        """One of each record; of a folder of an earlier version those of its digests, if it has
        any, then those of its rows."""
        if part.folder is None:
            return
        digests, samples = part.folder / DIGESTS, part.folder / SAMPLES
        if _has_samples(part.folder):
            yield from zip(_read_digests(digests), read_samples(samples), strict=True)
            return
        if digests.is_file():
            yield from ((digest, None) for digest in _read_digests(digests))
        if self._similar is not None:
            kind, cut = part.summary["kind"], part.summary.get("split", 0)
            rows = samples_of_rows(part.source, kind, self._tokenizer, in_pieces=cut > 0)
            yield from ((None, sample) for sample in rows)


def left_uncompared(part: Prepared, similarity: float) -> str | None:
    """What of a prepared folder can't be found again, in words; None where all of it can be.

    That is so in folders of earlier versions alone, which have no samples of their records.
    """
    if part.folder is None or _has_samples(part.folder):
        return None
    if similarity == 1:
        return None if (part.folder / DIGESTS).is_file() else "its records aren't compared"
    if cut := part.summary.get("split", 0):
        return (
            f"{cut} documents longer than a row are compared in parts, and those under "
            f"{LEAST_PIECE} tokens aren't"
        )
    if cut := part.summary.get("truncated", 0):
        return f"{cut} records longer than a row are compared without their end"
    return None


def _has_samples(folder: Path) -> bool:
    return (folder / SAMPLES).is_file() and (folder / DIGESTS).is_file()


def _read_digests(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK * SIZE):
            yield from (block[start : start + SIZE] for start in range(0, len(block), SIZE))
