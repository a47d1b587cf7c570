"""Sketches of texts: the MinHash of their n-grams, and an index of a million of them.

At a million texts the index takes 340 bytes a sketch. `Sketches` is of short texts, by character
5-grams; `vcjax.data.corpus.duplicates` is of documents, by n-grams of words and of characters.
"""

import re
import unicodedata
from functools import cache

import numpy as np
from jaxtyping import Bool, UInt16, UInt32, UInt64

from vcjax.core.seeds import derive_seed
from vcjax.text.grams import character_grams
from vcjax.text.language import HAN

_GRAM = 5
_NOT_WORD = re.compile(r"[\W_]+")
_HAN_RUN = re.compile(f"{HAN.pattern}+")

# Four rows to a band and twenty bands: with independent hashes two sets of Jaccard similarity s
# share a band with probability 1 - (1 - s^4)^20, which is 99.6 % at 0.7 and 3 % at 0.2 (Leskovec,
# Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4).
_ROWS, _BANDS = 4, 20
SLOTS = _ROWS * _BANDS
# Four standard deviations of the estimate of 0.7 from 80 slots.
_MARGIN = 0.2
_AT_ONCE = 1 << 12  # n-grams, whose products are in memory together
_FIRST_CAPACITY = 1 << 10
_MIX = 0x9E3779B97F4A7C15  # 2^64 / golden ratio (Knuth, "Sorting and searching", section 6.4)


def plain_text(text: str) -> str:
    """The letters and digits of a text, in one case; each Chinese character counts for two."""
    letters = _NOT_WORD.sub("", unicodedata.normalize("NFKC", text).casefold())
    return _HAN_RUN.sub(lambda run: "\0".join(run.group()) + "\0", letters)


def grams_of(plain: str) -> UInt64[np.ndarray, " grams"]:
    """The n-grams of a `plain_text`; a shorter one is the only one of its own."""
    return character_grams(plain, _GRAM)


def gram_set(plain: str) -> frozenset[int]:
    """The set of the n-grams of a `plain_text`."""
    return frozenset(grams_of(plain).tolist())


def jaccard(a: frozenset[int], b: frozenset[int]) -> float:
    """Jaccard similarity, 0 to 1, of two sets of n-grams."""
    return len(a & b) / len(a | b)


def sketch_of(grams: UInt64[np.ndarray, " grams"]) -> UInt16[np.ndarray, "80"]:
    """The MinHash sketch of a set of n-grams."""
    return minhash(grams, SLOTS)


def minhash(grams: UInt64[np.ndarray, " grams"], slots: int) -> UInt16[np.ndarray, " slots"]:
    """MinHash (Broder, 1997) of a set of n-grams, 16 bits of each slot; zeros of an empty set.

    A slot of two sets is equal with the probability of their Jaccard similarity s, and with 2^-16
    where it isn't for that, so that the share of equal slots has the standard deviation
    sqrt(s (1 - s) / slots). Each slot's order of the n-grams is by a product modulo 2^32 with an
    odd number of its own (Dietzfelbinger et al., "A reliable randomized algorithm for the
    closest-pair problem", 1997), of hashes that are mixed already.
    """
    if not len(grams):
        return np.zeros(slots, np.uint16)
    factors = _factors(slots)
    hashes = (grams >> np.uint64(32)).astype(np.uint32)
    least = np.full(slots, -1, np.int32).view(np.uint32)
    for start in range(0, len(hashes), _AT_ONCE):
        # The smallest product of each slot: as each factor permutes the 32-bit numbers in an order
        # of its own, any n-gram of a set is as likely to be the smallest, which is what MinHash
        # needs.
        products = factors[:, None] * hashes[start : start + _AT_ONCE]
        np.minimum(least, products.min(axis=1), out=least)
    return least.astype(np.uint16)  # the low half: of many n-grams the high one is nearly zero


@cache
def _factors(slots: int) -> UInt32[np.ndarray, " slots"]:
    seeds = [derive_seed("minhash", slot) for slot in range(slots)]
    return np.array([2 * seed + 1 for seed in seeds], np.uint32)


def band_keys(sketch: UInt16[np.ndarray, "80"]) -> UInt64[np.ndarray, "20"]:
    """A hash of each band; its highest bits are the best ones."""
    return np.ascontiguousarray(sketch).view(np.uint64) * np.uint64(_MIX)


def may_be_like(
    sketches: UInt16[np.ndarray, "n 80"], sketch: UInt16[np.ndarray, "80"], least: float
) -> Bool[np.ndarray, " n"]:
    """Whether the share of equal slots isn't far below the Jaccard similarity `least`."""
    # The share of equal slots estimates the similarity. The margin is on the safe side: what it
    # lets through costs an exact comparison, what it stopped would be missed for good.
    return (sketches == sketch).mean(axis=1) >= least - _MARGIN


class Sketches:
    """Sketches in the order in which they were added, and an index of their bands.

    Rows of a band are 16 bits each, so that a band is one 64-bit key. Each band has a hash table
    whose buckets are linked lists: `heads[band, bucket]` is the sketch that was added last, and
    `earlier[sketch, band]` the one before it.
    """

    def __init__(self) -> None:
        self._count = 0
        self._values = np.empty((_FIRST_CAPACITY, SLOTS), np.uint16)
        self._chain(_FIRST_CAPACITY)

    def __len__(self) -> int:
        return self._count

    def add(self, sketch: UInt16[np.ndarray, "80"]) -> int:
        """Adds a sketch; returns its index, counted from 0."""
        index = self._count
        if index == len(self._values):
            self._grow()
        self._values[index] = sketch
        for band, head in enumerate(self._buckets(sketch)):
            self._earlier[index * _BANDS + band] = self._heads[head]
            self._heads[head] = index
        self._count += 1
        return index

    def like(self, sketch: UInt16[np.ndarray, "80"], least: float) -> list[int]:
        """Indices, in ascending order, that are likely to have a Jaccard similarity of `least`.

        They share a band, and the share of equal slots is not far below `least`.
        """
        found: set[int] = set()
        for band, head in enumerate(self._buckets(sketch)):
            index = self._heads[head]
            while index >= 0:
                found.add(index)
                index = self._earlier[index * _BANDS + band]
        indices = np.array(sorted(found), np.intp)
        return indices[may_be_like(self._values[indices], sketch, least)].tolist()

    def _buckets(self, sketch: UInt16[np.ndarray, "80"]) -> list[int]:
        """The index of each band's list in the flat array of heads."""
        return ((band_keys(sketch) >> self._shift) + self._offsets).tolist()

    def _grow(self) -> None:
        values = np.empty((2 * len(self._values), SLOTS), np.uint16)
        values[: self._count] = self._values
        self._values = values
        self._chain(len(values))

    def _chain(self, capacity: int) -> None:
        """Builds heads and lists again, with `capacity` buckets in each band."""
        self._shift = np.uint64(64 - capacity.bit_length() + 1)
        self._offsets = np.arange(_BANDS, dtype=np.uint64) * np.uint64(capacity)
        heads = np.full((_BANDS, capacity), -1, np.int32)
        earlier = np.full((capacity, _BANDS), -1, np.int32)
        keys = self._values[: self._count].view(np.uint64)
        for band in range(_BANDS if self._count else 0):
            buckets = (keys[:, band] * np.uint64(_MIX) >> self._shift).astype(np.intp)
            order = np.argsort(buckets, kind="stable")
            buckets = buckets[order]
            same = buckets[1:] == buckets[:-1]
            earlier[order[1:][same], band] = order[:-1][same]
            ends = np.append(~same, True)
            heads[band, buckets[ends]] = order[ends]
        # Plain integers come out of these several times faster than out of NumPy's arrays.
        self._heads, self._earlier = heads.reshape(-1).data, earlier.reshape(-1).data
