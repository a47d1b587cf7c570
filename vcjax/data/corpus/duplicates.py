"""Exact and near duplicates of documents, within and across sources; of each the first one stays.

    document --- observe ---> Evidence: a digest of the text, a MinHash of its n-grams
                                 |
    files on disk: digests, and one of each band's keys
                                 |
    equal digests are exact duplicates; equal keys of a band propose near ones, band by band:
    a sketch decides where it is sure, otherwise the two texts' Jaccard similarity does

An n-gram is of words in English and of characters in Chinese (`vcjax.text.grams`). MinHash by bands
is Broder's ("On the resemblance and containment of documents", 1997) with the bands of Leskovec,
Rajaraman and Ullman ("Mining of Massive Datasets", section 3.4). Of documents that a band proposes
together, each is compared with those that stay, so that a page that is there a million times costs
a million comparisons and not their square.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, UInt64

from vcjax.core.errors import UserError
from vcjax.core.progress import Progress
from vcjax.data.corpus.document import Document, digest_of
from vcjax.data.corpus.evidence import (
    AT_ONCE,
    BANDS,
    EVIDENCE,
    ID,
    ROWS,
    SLOTS,
    Groups,
    StoredEvidence,
)
from vcjax.data.corpus.step import Decision, Observed
from vcjax.data.digests import SIZE, fingerprint_of
from vcjax.data.sketches import minhash
from vcjax.text.grams import jaccard_of_grams, text_grams

_DEVIATIONS = 4
"""Standard deviations of a sketch's estimate, beyond which the texts aren't compared."""
_LONGEST = 1 << 20
"""N-grams, beyond which a document is compared by its sketch alone."""
_LEADERS = 64
"""Documents that stay and that each other one of its band is compared with, at most."""


@dataclass(frozen=True)
class DuplicatesSettings:
    """What is a duplicate.

    Attributes:
      similarity: the least Jaccard similarity of a near-duplicate, 0.7 or more; 1 leaves out exact
        duplicates alone.
      n: words, or Chinese characters, of an n-gram.
      memory: MiB in which keys are sorted; a larger corpus is sorted in parts.
    """

    similarity: float = 0.75
    n: int = 5
    memory: int = 256

    def __post_init__(self) -> None:
        if not 0.7 <= self.similarity <= 1:
            raise UserError(f"config.similarity: must be from 0.7 to 1, not {self.similarity}")
        if self.n < 1:
            raise UserError(f"config.n: must be at least 1, not {self.n}")
        if self.memory < 1:
            raise UserError(f"config.memory: must be at least 1 MiB, not {self.memory}")


class Duplicates:
    """The pass over a corpus that leaves out duplicates."""

    name: ClassVar[str] = "duplicates"
    Settings: ClassVar[type] = DuplicatesSettings

    def __init__(self, settings: DuplicatesSettings) -> None:
        self._settings = settings

    def observe(self, document: Document) -> bytes:
        """The document's digest and sketch, about 350 bytes."""
        evidence = np.zeros((), EVIDENCE)
        evidence["digest"] = np.void(digest_of(document)[:SIZE])
        evidence["source"] = int.from_bytes(fingerprint_of([document.source])[:8], "little")
        evidence["id"] = document.id.encode()[:ID]
        if self._settings.similarity < 1:
            grams = text_grams(document.text, self._settings.n)
            evidence["grams"] = len(grams)
            evidence["slots"] = minhash(grams, SLOTS)
        return evidence.tobytes()

    def decide(
        self, observed: Iterable[Observed], text_of: Callable[[int], str], counts: Counter[str]
    ) -> Iterator[Decision]:
        """Yields each document that an earlier one duplicates, and which one that is.

        A band has about 50 bytes a document in memory, and no more than `memory`; the rest lies in
        files without a name in the folder for temporary files, 560 bytes a document.
        """
        with StoredEvidence(self._settings.memory) as stored:
            for each in observed:
                stored.add(each.number, each.evidence)
            stored.flush()
            search = _Search(stored, self._settings, text_of, counts)
            yield from search.exact()
            if self._settings.similarity < 1:
                with Progress(total=BANDS, desc="near-duplicates", unit="bands") as bar:
                    for band in range(BANDS):
                        yield from search.near(band)
                        bar.update()


class _Search:
    """Decides about the documents that are stored."""

    def __init__(
        self,
        stored: StoredEvidence,
        settings: DuplicatesSettings,
        text_of: Callable[[int], str],
        counts: Counter[str],
    ) -> None:
        self._stored, self._settings = stored, settings
        self._text_of, self._counts = text_of, counts
        self._removed = bytearray(stored.count)
        # Of the share of equal slots, for a pair that is just at the threshold (a binomial's).
        deviation = (settings.similarity * (1 - settings.similarity) / SLOTS) ** 0.5
        self._unlikely = settings.similarity - _DEVIATIONS * deviation
        self._certain = settings.similarity + _DEVIATIONS * deviation
        self._latest: tuple[int, UInt64[np.ndarray, " grams"]] = (-1, np.empty(0, np.uint64))

    def exact(self) -> Iterator[Decision]:
        for groups in self._stored.equal_digests(self._removed):
            yield from self._rounds(groups, self._same_digest)

    def near(self, band: int) -> Iterator[Decision]:
        for groups in self._stored.equal_keys(band, self._removed):
            yield from self._rounds(groups, lambda a, b: self._similar(a, b, band))

    def _rounds(
        self, groups: Groups, compare: Callable[[Any, Any], Float[np.ndarray, " n"]]
    ) -> Iterator[Decision]:
        """Compares each document with the first of its group, those that are left with the first
        of them, and so on.

        Args:
          compare: rows of pairs -> the similarity of those that are duplicates; 0 of others.
        """
        for _ in range(_LEADERS):
            leaders, others = groups.pairs()
            if not len(others):
                return
            duplicate = np.zeros(len(others), np.bool_)
            for start in range(0, len(others), AT_ONCE):
                part = slice(start, start + AT_ONCE)
                a, b = self._stored.rows(leaders[part]), self._stored.rows(others[part])
                similarities = compare(a, b)
                duplicate[part] = similarities > 0
                for index in np.flatnonzero(similarities):
                    self._removed[others[start + index]] = 1
                    yield self._decision(a[index], b[index], similarities[index])
            # The leader is done with: whoever is left is like none of the leaders so far, and the
            # first of them is the next one. The order of the documents alone decides, so no number
            # of processes matters.
            keep = ~groups.first
            keep[keep] = ~duplicate
            groups = groups.kept(keep)
        self._counts["comparisons left out in large groups"] += len(groups.indices)

    def _decision(self, first: Any, other: Any, similarity: float) -> Decision:
        exact = first["evidence"]["digest"] == other["evidence"]["digest"]
        kind = "exact duplicate" if exact else "near-duplicate"
        if first["evidence"]["source"] != other["evidence"]["source"]:
            self._counts[f"{kind} of another source"] += 1
        named = first["evidence"]["id"].decode(errors="ignore")
        detail = f"of {named}" if exact else f"of {named}, similarity {similarity:.2f}"
        return Decision(int(other["number"]), kind, detail)

    def _same_digest(self, a: Any, b: Any) -> Float[np.ndarray, " n"]:
        return (a["evidence"]["digest"] == b["evidence"]["digest"]).astype(np.float64)

    def _similar(self, a: Any, b: Any, band: int) -> Float[np.ndarray, " n"]:
        equal = a["evidence"]["slots"] == b["evidence"]["slots"]
        similarities = equal.mean(axis=1)
        by_band = equal.reshape(-1, BANDS, ROWS).all(axis=2)
        # A pair that shares an earlier band, of which neither was removed, isn't similar.
        new = ~by_band[:, :band].any(axis=1)
        similarities[~new | (similarities < self._unlikely)] = 0
        for index in np.flatnonzero((similarities > 0) & (similarities < self._certain)):
            longest = max(a["evidence"]["grams"][index], b["evidence"]["grams"][index])
            if longest <= _LONGEST:
                self._counts["pairs compared by their texts"] += 1
                similarities[index] = jaccard_of_grams(
                    self._grams(int(a["number"][index])),
                    text_grams(self._text_of(int(b["number"][index])), self._settings.n),
                )
        similarities[similarities < self._settings.similarity] = 0
        return similarities

    def _grams(self, number: int) -> UInt64[np.ndarray, " grams"]:
        """Of a leader, which is compared with several in turn."""
        if self._latest[0] != number:
            self._latest = number, text_grams(self._text_of(number), self._settings.n)
        return self._latest[1]
