"""MinHash sketches of a million texts, in arrays, and those of them that are like a new one."""

import numpy as np
from jaxtyping import Bool, UInt16, UInt64

# Four rows to a band and twenty bands: with independent hashes two sets of Jaccard similarity s
# share a band with probability 1 - (1 - s^4)^20, which is 99.6 % at 0.7 and 3 % at 0.2 (Leskovec,
# Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4). R-MinHash misses fewer.
_ROWS, _BANDS = 4, 20
SLOTS = _ROWS * _BANDS
# Four standard deviations of the estimate of 0.7 from 80 slots.
_MARGIN = 0.2
_FIRST_CAPACITY = 1 << 10
_MIX = 0x9E3779B97F4A7C15  # 2^64 / golden ratio (Knuth, "Sorting and searching", section 6.4)


def band_keys(sketch: UInt16[np.ndarray, "80"]) -> UInt64[np.ndarray, "20"]:
    """A hash of each band; its highest bits are the best ones."""
    return np.ascontiguousarray(sketch).view(np.uint64) * np.uint64(_MIX)


def may_be_like(
    sketches: UInt16[np.ndarray, "n 80"], sketch: UInt16[np.ndarray, "80"], least: float
) -> Bool[np.ndarray, " n"]:
    """Whether the share of equal slots isn't far below the Jaccard similarity `least`."""
    return (sketches == sketch).mean(axis=1) >= least - _MARGIN


class Sketches:
    """Sketches by place, in the order in which they were added, and where their bands lead.

    Rows of a band are 16 bits each, so that a band is one 64-bit key. Each band has a hash table
    whose buckets are chains of places: `heads[band, bucket]` is the last place added, and
    `earlier[place, band]` the one before. At a million that is 340 bytes a sketch, where
    `rensa.RMinHashLSH` takes 2,400.
    """

    def __init__(self) -> None:
        self._count = 0
        self._values = np.empty((_FIRST_CAPACITY, SLOTS), np.uint16)
        self._chain(_FIRST_CAPACITY)

    def __len__(self) -> int:
        return self._count

    def add(self, sketch: UInt16[np.ndarray, "80"]) -> int:
        """Takes a sketch in and returns its place, counted from 0."""
        place = self._count
        if place == len(self._values):
            self._grow()
        self._values[place] = sketch
        for band, head in enumerate(self._buckets(sketch)):
            self._earlier[place * _BANDS + band] = self._heads[head]
            self._heads[head] = place
        self._count += 1
        return place

    def like(self, sketch: UInt16[np.ndarray, "80"], least: float) -> list[int]:
        """Places, in ascending order, that may well have a Jaccard similarity of `least`.

        They share a band, and the share of equal slots is not far below `least`.
        """
        found: set[int] = set()
        for band, head in enumerate(self._buckets(sketch)):
            place = self._heads[head]
            while place >= 0:
                found.add(place)
                place = self._earlier[place * _BANDS + band]
        places = np.array(sorted(found), np.intp)
        return places[may_be_like(self._values[places], sketch, least)].tolist()

    def _buckets(self, sketch: UInt16[np.ndarray, "80"]) -> list[int]:
        """Where each band's chain begins, as places in the flat array of heads."""
        return ((band_keys(sketch) >> self._shift) + self._offsets).tolist()

    def _grow(self) -> None:
        values = np.empty((2 * len(self._values), SLOTS), np.uint16)
        values[: self._count] = self._values
        self._values = values
        self._chain(len(values))

    def _chain(self, capacity: int) -> None:
        """Makes heads and chains anew, for as many buckets a band as there is room for places."""
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
