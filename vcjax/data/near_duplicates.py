"""Near-duplicates among many texts: MinHash sketches propose candidates, exact Jaccard decides.

    text --- plain_text, grams_of ---> a set of character 5-grams --- sketch_of ---> 80 slots
                                              |                                         |
                                       jaccard of two sets  <--- texts that share a band of slots

`NearDuplicates` has its texts in memory (a million short ones), `StoredNearDuplicates` on disk (any
number, of any length), `Quoted` a few that another text may quote.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Int64, UInt8, UInt16, UInt64

from vcjax.data.digests import TemporaryDatabase
from vcjax.data.sketches import (
    Sketches,
    band_keys,
    gram_set,
    grams_of,
    jaccard,
    may_be_like,
    plain_text,
    sketch_of,
)
from vcjax.text.language import HAN

_LEAST_OF_SWAPPED = 0.45
"""Similarity of the texts that are compared word by word; a swapped noun leaves 0.5 to 0.8."""
_LEAST_WORDS, _LEAST_COMMON = 6, 0.75
_WORD = re.compile(rf"{HAN.pattern}|(?:(?!{HAN.pattern})\w)+")
_FILTER_BITS = 27  # of a filter of 16 MiB: a million texts set one bit in seven
_BAND_MIX = np.uint64(0xD1B54A32D192ED03)  # odd, so that each band has keys of its own


class Texts(Protocol):
    """Texts that another text must not repeat."""

    def first_match(self, text: str) -> int | None:
        """The index of the first of them that `text` repeats, or None."""
        ...


class NearDuplicates:
    """Texts in the order in which they were added, and the first of them that a text is like.

    The result is a pure function of the texts and their order. There is no false match: sketches
    only propose, and each proposal is checked on the texts.
    Under one pair in a hundred is missed at the threshold, and next to none far above it.
    `benchmarks.near_duplicates` measures a million: memory, seconds, and what is missed.
    """

    def __init__(
        self, threshold: float = 0.7, texts: Iterable[str] = (), *, swaps: bool = False
    ) -> None:
        """Args:
        threshold: the least `similarity` of a match; it is meant for 0.7 and more.
        swaps: whether a text also matches where one noun is another; see `is_swapped`.
        """
        self.threshold = threshold
        self._proposed = _LEAST_OF_SWAPPED if swaps else threshold
        self._swaps = swaps
        self._sketches = Sketches()
        self._texts: list[str] = []
        self._words: list[str] = []
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str) -> int:
        """Adds a text; returns its index, counted from 0."""
        plain = plain_text(text)
        self._texts.append(plain)
        if self._swaps:
            self._words.append(" ".join(_words(text)))
        return self._sketches.add(sketch_of(grams_of(plain)))

    def first_match(self, text: str) -> int | None:
        """The index of the earliest text that is at least `threshold` similar or, with `swaps`,
        has another noun; None where there is none."""
        grams = grams_of(plain_text(text))
        own, words = frozenset(grams.tolist()), _words(text)
        for index in self._sketches.like(sketch_of(grams), self._proposed):
            if jaccard(own, gram_set(self._texts[index])) >= self.threshold:
                return index
            if self._swaps and is_swapped(words, self._words[index].split()):
                return index
        return None


class Quoted:
    """A few texts, and the first of them that another text quotes nearly whole.

    For sets that no query may contain, such as a benchmark, whatever is put before or after them.
    """

    def __init__(self, texts: Iterable[str], threshold: float = 0.8) -> None:
        """Args: `threshold` is the least share of a text's n-grams in one that quotes it."""
        self.threshold = threshold
        self._sizes: list[int] = []
        self._having: dict[int, list[int]] = defaultdict(list)
        for index, text in enumerate(texts):
            grams = _gram_set(text)
            self._sizes.append(len(grams))
            for gram in grams:
                self._having[gram].append(index)

    def first_match(self, text: str) -> int | None:
        """The index of the first text that is quoted, or None."""
        grams = _gram_set(text)
        # An inverted index: only texts that share an n-gram are looked at.
        shared = Counter(index for gram in grams for index in self._having.get(gram, ()))
        quoted = (index for index, n in shared.items() if n >= self.threshold * self._sizes[index])
        return min(quoted, default=None)


class StoredNearDuplicates(TemporaryDatabase):
    """Named texts on disk, and the first of them that a text is like.

    It finds the same matches as `NearDuplicates`. In memory are the database's cache and a Bloom
    filter (Bloom, 1970) of one hash over the keys of the bands: where few texts are stored, most
    texts are found to be like none of them without reading the disk. A text takes its own size and
    about 1 KB on disk; `tests/slow/test_flat_memory.py` measures memory and time.
    """

    def __init__(self, threshold: float) -> None:
        """Args: `threshold` is the least similarity of a match; it is meant for 0.7 and more."""
        super().__init__(
            "CREATE TABLE texts (number INTEGER PRIMARY KEY, name TEXT, sketch BLOB, plain BLOB);"
            "CREATE TABLE bands (key INTEGER, number INTEGER)"
        )
        self.threshold = threshold
        self._count = 0
        self._filter = np.zeros(1 << (_FILTER_BITS - 3), np.uint8)
        self._indexed = False

    def __len__(self) -> int:
        return self._count

    def add(self, name: str, text: str) -> None:
        """Stores a text under a name, which needn't be the only one of its kind."""
        plain = plain_text(text)
        sketch = sketch_of(grams_of(plain))
        # As a BLOB: between Chinese characters there are zeros.
        row = (self._count, name, sketch.tobytes(), plain.encode())
        self._database.execute("INSERT INTO texts VALUES (?, ?, ?, ?)", row)
        keys = _keys(sketch)
        bands = ((key, self._count) for key in keys.view(np.int64).tolist())
        self._database.executemany("INSERT INTO bands VALUES (?, ?)", bands)
        byte, bit = _bits(keys)
        np.bitwise_or.at(self._filter, byte, bit)
        self._count += 1

    def first_match(self, text: str) -> str | None:
        """The name of the earliest text that is at least `threshold` similar, or None."""
        if not self._count:
            return None
        grams = grams_of(plain_text(text))
        sketch = sketch_of(grams)
        keys = self._stored(_keys(sketch))
        if not len(keys):
            return None
        own = frozenset(grams.tolist())
        if not self._indexed:  # once, sorted: a tree that grows with each key is slower to make
            self._database.execute("CREATE INDEX by_key ON bands (key, number)")
            self._indexed = True
        sharing = f"SELECT number FROM bands WHERE key IN ({', '.join('?' * len(keys))})"
        proposed = self._database.execute(
            f"SELECT name, sketch, plain FROM texts WHERE number IN ({sharing}) ORDER BY number",
            keys.tolist(),
        )
        for name, values, plain in proposed:
            other = np.frombuffer(values, np.uint16)[None]
            if not may_be_like(other, sketch, self.threshold)[0]:
                continue
            if jaccard(own, gram_set(plain.decode())) >= self.threshold:
                return name
        return None

    def _stored(self, keys: UInt64[np.ndarray, "20"]) -> Int64[np.ndarray, " some"]:
        """The keys that a stored text may have, as SQLite's signed integers."""
        byte, bit = _bits(keys)
        return keys.view(np.int64)[(self._filter[byte] & bit) != 0]


def _keys(sketch: UInt16[np.ndarray, "80"]) -> UInt64[np.ndarray, "20"]:
    keys = band_keys(sketch)
    return keys + np.arange(len(keys), dtype=np.uint64) * _BAND_MIX


def _bits(
    keys: UInt64[np.ndarray, "20"],
) -> tuple[Int64[np.ndarray, "20"], UInt8[np.ndarray, "20"]]:
    """The byte of each key in the filter, and the bit in that byte."""
    bits = (keys >> np.uint64(64 - _FILTER_BITS)).astype(np.int64)
    return bits >> 3, np.left_shift(1, bits & 7).astype(np.uint8)


def similarity(a: str, b: str) -> float:
    """Jaccard similarity, 0 to 1, of the sets of character 5-grams of two texts.

    Case, spaces and punctuation don't count. A Chinese character counts for two, so that a gram is
    a short English word or two to three Chinese characters, wherever a text changes between them.
    """
    return jaccard(_gram_set(a), _gram_set(b))


def is_swapped(a: Sequence[str], b: Sequence[str]) -> bool:
    """Whether two texts are one template with another noun or noun phrase in one slot.

    That is so where what they have in common before and after it is at least three quarters of the
    longer one, or where one word is replaced by another wherever it occurs. The templates of a
    writer who is asked for thousands of questions differ so. `tests/data/test_near_duplicates.py`
    measures it; of questions of six or seven words some aren't found by `NearDuplicates`, as their
    n-grams have too little in common to be compared at all.

    Args:
      a, b: the words of the texts; a Chinese character counts as a word.
    """
    short, long = sorted((len(a), len(b)))
    if short < _LEAST_WORDS:
        return False
    # One word for another throughout ("Peru ... Peru" for "Chile ... Chile"): the set of replaced
    # pairs has one member, however often it occurs.
    if len(a) == len(b):
        replaced = {pair for pair in zip(a, b, strict=True) if pair[0] != pair[1]}
        if len(replaced) <= 1:
            return True
    before = next((n for n in range(short) if a[n] != b[n]), short)
    after = next((n for n in range(short - before) if a[-1 - n] != b[-1 - n]), short - before)
    return before + after >= _LEAST_COMMON * long


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def share_quoted(text: str, source: str) -> float:
    """The share, 0 to 1, of a text's n-grams that are in a source, which may be much longer."""
    grams = _gram_set(text)
    return len(grams & _gram_set(source)) / len(grams)


def _gram_set(text: str) -> frozenset[int]:
    return gram_set(plain_text(text))
