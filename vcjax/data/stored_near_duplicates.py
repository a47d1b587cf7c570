"""Near-duplicates among any number of texts: sketches, bands and texts on disk, memory flat."""

import numpy as np
from jaxtyping import Int64, UInt8, UInt16, UInt64

from vcjax.data.digests import TemporaryDatabase
from vcjax.data.near_duplicates import grams_of, jaccard, plain_text, sketch_of
from vcjax.data.sketches import band_keys, may_be_like

_FILTER_BITS = 27  # of a filter of 16 MiB: a million texts set one bit in seven
_BAND_MIX = np.uint64(0xD1B54A32D192ED03)  # odd, so that each band has keys of its own


class StoredNearDuplicates(TemporaryDatabase):
    """Named texts on disk, and the first of them that a text is like.

    As `vcjax.data.near_duplicates.NearDuplicates`: sketches propose, and each proposal is checked
    on the texts, so that there is no false match. In memory are the database's cache and a Bloom
    filter (Bloom, 1970) of one hash over the keys of the bands: where few texts are stored, most
    texts are found to be like none of them without a look at the disk. A text takes its own size
    and about 1 KB on disk; `tests/slow/test_flat_memory.py` measures memory and time.
    """

    def __init__(self, threshold: float) -> None:
        """Args: `threshold` is the least similarity of a match; it is meant for 0.7 and more."""
        super().__init__(
            "CREATE TABLE texts (place INTEGER PRIMARY KEY, name TEXT, sketch BLOB, plain BLOB);"
            "CREATE TABLE bands (key INTEGER, place INTEGER)"
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
        places = ((key, self._count) for key in keys.view(np.int64).tolist())
        self._database.executemany("INSERT INTO bands VALUES (?, ?)", places)
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
        own = frozenset(grams)
        if not self._indexed:  # once, sorted: a tree that grows with each key is slower to make
            self._database.execute("CREATE INDEX places_by_key ON bands (key, place)")
            self._indexed = True
        places = f"SELECT place FROM bands WHERE key IN ({', '.join('?' * len(keys))})"
        proposed = self._database.execute(
            f"SELECT name, sketch, plain FROM texts WHERE place IN ({places}) ORDER BY place",
            keys.tolist(),
        )
        for name, values, plain in proposed:
            other = np.frombuffer(values, np.uint16)[None]
            if not may_be_like(other, sketch, self.threshold)[0]:
                continue
            if jaccard(own, frozenset(grams_of(plain.decode()))) >= self.threshold:
                return name
        return None

    def _stored(self, keys: UInt64[np.ndarray, "20"]) -> Int64[np.ndarray, " some"]:
        """Those of the keys that a text may have, as SQLite has them."""
        byte, bit = _bits(keys)
        return keys.view(np.int64)[(self._filter[byte] & bit) != 0]


def _keys(sketch: UInt16[np.ndarray, "80"]) -> UInt64[np.ndarray, "20"]:
    keys = band_keys(sketch)
    return keys + np.arange(len(keys), dtype=np.uint64) * _BAND_MIX


def _bits(
    keys: UInt64[np.ndarray, "20"],
) -> tuple[Int64[np.ndarray, "20"], UInt8[np.ndarray, "20"]]:
    """Where in the filter each key is: the byte, and the bit in it."""
    bits = (keys >> np.uint64(64 - _FILTER_BITS)).astype(np.int64)
    return bits >> 3, np.left_shift(1, bits & 7).astype(np.uint8)
