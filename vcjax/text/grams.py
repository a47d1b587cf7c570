"""Units of text and their n-grams as 64-bit hashes, in NumPy: what matches terms, sketches and
quotations are made of.

    text ---> code points ---> blocks ---> units: a Chinese character, or a word of other letters
                                             |
                                       gram_hashes: n neighbouring units

So an n-gram is n characters of Chinese and n words of English, and a text that mixes them needs no
rule of its own. Case, width (of full-width letters), spaces and punctuation don't count. A text is
cut into blocks of at most `BLOCK` characters, between units, which bounds the memory for a line of
100 MB; no n-gram crosses a cut.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8, UInt32, UInt64

from vcjax.text.language import HAN, KANA

BLOCK = 1 << 16
"""Characters that are in memory as arrays at once."""

_HARD, _SOFT, _LETTER, _SINGLE = range(4)
"""Kinds of a character: one that ends a phrase, another separator, one of a word, a unit alone."""
_PLANE = 1 << 16
_BASE = 0x9E3779B97F4A7C15  # odd: it has an inverse modulo 2^64
STEP = np.uint64(0xD6E8FEB86659FD93)
"""What the hash of an n-gram is multiplied by before the next unit is added."""
_SOFT_MARKS = "-'’‐‑·•\u00ad\u200b"


class Units(NamedTuple):
    """The units of one block.

    Attributes:
      hashes: of each unit.
      starts, ends: of each, in characters of the text; the end is the first that isn't of it.
      phrase: ascending; two units with the same number have no punctuation between them.
      prefixes: see `prefix_hashes`.
    """

    hashes: UInt64[np.ndarray, " units"]
    starts: Int64[np.ndarray, " units"]
    ends: Int64[np.ndarray, " units"]
    phrase: Int64[np.ndarray, " units"]
    sums: UInt64[np.ndarray, " characters+1"]
    offset: int


def units_of(text: str) -> Iterator[Units]:
    """Yields the units of a text, a block at a time; none where it has no letter or digit."""
    for offset, codes in _blocks(text):
        values, kinds = _classified(codes)
        word = kinds >= _LETTER
        single = kinds == _SINGLE
        before = np.concatenate([[False], word[:-1]])
        alone = np.concatenate([[False], single[:-1]])
        start = word & (~before | single | alone)
        edges = np.flatnonzero(start | (before & ~word))
        is_start = start[edges]
        starts = edges[is_start]
        if not len(starts):
            continue
        ends = np.append(edges, len(codes))[1:][is_start]
        powers, inverses = _powers()
        sums = np.zeros(len(codes) + 1, np.uint64)
        np.cumsum(values * powers[: len(codes)], out=sums[1:])
        hashes = mixed((sums[ends] - sums[starts]) * inverses[starts])
        phrase = np.cumsum(kinds == _HARD)[starts]
        yield Units(hashes, starts + offset, ends + offset, phrase, sums, offset)


def units_of_each(
    texts: Sequence[str],
) -> Iterator[tuple[int, UInt64[np.ndarray, " units"], int]]:
    """Yields the index of each short text that has units, their hashes, and the length of the last.

    Thousands of texts are cut at once, which is many times as fast as one after the other.
    """
    start = 0
    while start < len(texts):
        stop, size = start, 0
        while stop < len(texts) and (stop == start or size + len(texts[stop]) < BLOCK // 2):
            size += len(texts[stop]) + 1
            stop += 1
        ends = np.cumsum([len(text) + 1 for text in texts[start:stop]])
        for units in units_of("\n".join(texts[start:stop])):
            of = np.searchsorted(ends, units.starts, side="right")
            edges = np.flatnonzero(np.diff(of, prepend=-1, append=-1))
            for first, after in pairwise(edges.tolist()):
                last = int(units.ends[after - 1] - units.starts[after - 1])
                yield start + int(of[first]), units.hashes[first:after], last
        start = stop


def prefix_hashes(units: Units, lengths: Sequence[int]) -> UInt64[np.ndarray, "lengths units"]:
    """The hash of the first characters of each unit, as if they were the whole of it; meaningless
    where a unit is shorter."""
    starts = units.starts - units.offset
    stops = np.minimum(starts + np.array(lengths, np.int64)[:, None], len(units.sums) - 1)
    return mixed((units.sums[stops] - units.sums[starts]) * _powers()[1][starts])


def gram_hashes(hashes: UInt64[np.ndarray, " units"], n: int) -> UInt64[np.ndarray, " grams"]:
    """A hash of each n neighbouring units; none where there are fewer."""
    count = len(hashes) - n + 1
    if count <= 0:
        return np.empty(0, np.uint64)
    grams = hashes[:count]
    for offset in range(1, n):
        grams = grams * STEP + hashes[offset : offset + count]
    return grams


def text_grams(text: str, n: int) -> UInt64[np.ndarray, " grams"]:
    """The n-grams of a text in their order; of one with fewer units all of them as the only one."""
    blocks = [units.hashes for units in units_of(text)]
    if not blocks:
        return np.empty(0, np.uint64)
    n = min(n, max(map(len, blocks)))
    return mixed(np.concatenate([gram_hashes(hashes, n) for hashes in blocks]))


def character_grams(text: str, n: int) -> UInt64[np.ndarray, " grams"]:
    """The n-grams of a text's characters; of a shorter one all of them as the only one."""
    codes = np.frombuffer((text or "\0").encode("utf-32-le", "surrogatepass"), np.uint32)
    values = (codes.astype(np.uint64) + np.uint64(1)) * np.uint64(_BASE)
    return mixed(gram_hashes(values, min(n, len(codes))))


def jaccard_of_grams(a: UInt64[np.ndarray, " n"], b: UInt64[np.ndarray, " m"]) -> float:
    """Jaccard similarity, 0 to 1, of the sets of two texts' n-grams; 1 where both are empty."""
    a, b = np.unique(a), np.unique(b)
    shared = len(np.intersect1d(a, b, assume_unique=True))
    total = len(a) + len(b) - shared
    return shared / total if total else 1.0


def mixed(hashes: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """Spreads each hash over all its bits (the finaliser of SplitMix64; Steele et al., 2014)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def _blocks(text: str) -> Iterator[tuple[int, UInt32[np.ndarray, " characters"]]]:
    """Yields code points and the position of the first; a cut is where a phrase ends, if any is in
    the second half of a block, else between words, if there are several."""
    start = 0
    while start < len(text):
        stop = start + BLOCK
        if stop < len(text):
            half = range(stop, start + BLOCK // 2, -1)
            ends = (at for at in half if _kind(text[at]) == _HARD)
            gaps = (at for at in half if _kind(text[at]) != _LETTER)
            stop = next(ends, next(gaps, stop))
        part = text[start:stop]
        yield start, np.frombuffer(part.encode("utf-32-le", "surrogatepass"), np.uint32)
        start = stop


def _classified(
    codes: UInt32[np.ndarray, " characters"],
) -> tuple[UInt64[np.ndarray, " characters"], UInt8[np.ndarray, " characters"]]:
    """The value of each character in a unit's hash, and its kind."""
    values, kinds = _tables()
    high = codes >= _PLANE
    if not high.any():
        return values[codes], kinds[codes]
    low = np.where(high, 0, codes)
    found_values, found_kinds = values[low], kinds[low]
    rare = [chr(code) for code in codes[high]]
    found_values[high] = _values([_folded(character) for character in rare])
    found_kinds[high] = [_kind(character) for character in rare]
    return found_values, found_kinds


def _kind(character: str) -> int:
    if HAN.match(character) or KANA.match(character):
        return _SINGLE
    if character.isalnum() or unicodedata.category(character)[0] == "M":
        return _LETTER
    return _SOFT if character.isspace() or character in _SOFT_MARKS else _HARD


def _folded(character: str) -> int:
    """The code point of a character in one case and width; its own where that is several."""
    folded = unicodedata.normalize("NFKC", character).casefold()
    return ord(folded if len(folded) == 1 else character)


def _values(codes: Sequence[int]) -> UInt64[np.ndarray, " n"]:
    return mixed((np.array(codes, np.uint64) + np.uint64(1)) * np.uint64(_BASE))


@cache
def _tables() -> tuple[UInt64[np.ndarray, "65536"], UInt8[np.ndarray, "65536"]]:
    """Tables of the characters that nearly all text consists of; made in a tenth of a second."""
    kinds = np.array([_kind(chr(code)) for code in range(_PLANE)], np.uint8)
    values = _values([_folded(chr(code)) for code in range(_PLANE)])
    values[kinds < _LETTER] = 0
    return values, kinds


@cache
def _powers() -> tuple[UInt64[np.ndarray, " block"], UInt64[np.ndarray, " block"]]:
    """`_BASE` and its inverse modulo 2^64 to the power of each position in a block."""
    forward = np.full(BLOCK, _BASE, np.uint64)
    backward = np.full(BLOCK, pow(_BASE, -1, 1 << 64), np.uint64)
    forward[0] = backward[0] = 1
    return np.cumprod(forward), np.cumprod(backward)
