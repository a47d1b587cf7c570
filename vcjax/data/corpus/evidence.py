"""What duplicates are found by, on disk: a digest of each document, its sketch and its bands' keys.

Documents with an equal digest, or with an equal key of a band, come out in groups: an external sort
in a bounded part of the memory, however large the corpus is.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO, Self

import numpy as np
from jaxtyping import Bool, Int64, UInt16, UInt64

from vcjax.core.seeds import derive_seed
from vcjax.data.digests import SIZE
from vcjax.text.grams import mixed

# Two documents of similarity s share a band with probability 1 - (1 - s^6)^24: 99.9 % at 0.8, 95 %
# at 0.7, 31 % at 0.5 and 2 % at 0.3.
ROWS, BANDS = 6, 24
SLOTS = ROWS * BANDS

ID = 40  # bytes that are kept of a document's id
AT_ONCE = 1 << 13  # rows that are written or compared together
_BYTES_PER_KEY = 48  # while a band's keys are sorted
EVIDENCE = np.dtype(
    [
        ("digest", f"V{SIZE}"),
        ("source", "<u8"),
        ("grams", "<u4"),
        ("slots", "<u2", SLOTS),
        ("id", f"S{ID}"),
    ]
)


class StoredEvidence:
    """A row for each document, and columns of digests and of each band's keys; a context manager.

    The files have no name and lie in the folder for temporary files, 560 bytes a document.

    Attributes:
      count: documents so far.
    """

    def __init__(self, memory: int) -> None:
        """Args: `memory`: MiB in which keys are sorted."""
        self._row = np.dtype([("number", "<u8"), ("evidence", EVIDENCE)])
        self._memory = memory << 20
        self._stack = ExitStack()
        self._rows, self._digests, *self._keys = (self._file() for _ in range(2 + BANDS))
        self._waiting: list[bytes] = []
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _file(self) -> BinaryIO:
        return self._stack.enter_context(tempfile.TemporaryFile())

    def add(self, number: int, evidence: bytes) -> None:
        """Adds the document of this number; `evidence` is the bytes of an EVIDENCE."""
        self._waiting.append(number.to_bytes(8, "little") + evidence)
        self.count += 1
        if len(self._waiting) == AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Writes what waits to be written."""
        rows = np.frombuffer(b"".join(self._waiting), self._row)
        self._waiting.clear()
        evidence = rows["evidence"]
        digests = np.ascontiguousarray(evidence["digest"]).view("<u8").reshape(-1, SIZE // 8)
        self._rows.write(rows.tobytes())
        self._digests.write(digests[:, 0].tobytes())
        keys = _band_keys(evidence["slots"])
        keys[evidence["grams"] == 0] = 0  # a text without a letter is like no other
        for band, stream in enumerate(self._keys):
            stream.write(keys[:, band].tobytes())
        for stream in (self._rows, self._digests, *self._keys):
            stream.flush()

    def rows(self, indices: Int64[np.ndarray, " n"]) -> np.ndarray:
        """The rows of some documents, by their index among all."""
        size, handle = self._row.itemsize, self._rows.fileno()
        parts = [os.pread(handle, size, index * size) for index in indices.tolist()]
        return np.frombuffer(b"".join(parts), self._row)

    def equal_digests(self, removed: bytearray) -> Iterator["Groups"]:
        """Groups of documents with the same first half of a digest."""
        return self._equal(self._digests, removed)

    def equal_keys(self, band: int, removed: bytearray) -> Iterator["Groups"]:
        """Groups of documents with the same key in a band."""
        return self._equal(self._keys[band], removed)

    def _equal(self, stream: BinaryIO, removed: bytearray) -> Iterator["Groups"]:
        # Which part a key is in depends on the key, so that a group is never divided; a document
        # has one key here, so that no part depends on what another one removes.
        # An external sort without merging: each part is read from the whole column, and keys that
        # are equal are always in the same part. It reads more, and stays within `memory`.
        parts = 1 + self.count * _BYTES_PER_KEY // self._memory
        for part in range(parts):
            keys, indices = [], []
            for start in range(0, self.count, self._memory // _BYTES_PER_KEY):
                stop = min(self.count, start + self._memory // _BYTES_PER_KEY)
                stream.seek(8 * start)
                block = np.frombuffer(stream.read(8 * (stop - start)), np.uint64)
                gone = np.frombuffer(removed, np.bool_)[start:stop]
                mine = (block != 0) & ~gone & (block % np.uint64(parts) == part)
                keys.append(block[mine])
                indices.append(np.flatnonzero(mine) + start)
            if keys:
                yield Groups.of_equal(np.concatenate(keys), np.concatenate(indices))


@dataclass(frozen=True)
class Groups:
    """Documents in groups of two and more, each in ascending order.

    Attributes:
      indices: of the documents, group after group.
      groups: the number of the group of each.
    """

    indices: Int64[np.ndarray, " n"]
    groups: Int64[np.ndarray, " n"]

    @classmethod
    def of_equal(cls, keys: UInt64[np.ndarray, " n"], indices: Int64[np.ndarray, " n"]) -> Self:
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        new = np.concatenate([[True], keys[1:] != keys[:-1]])[: len(keys)]
        return cls(indices[order], np.cumsum(new)).kept(np.ones(len(keys), np.bool_))

    @property
    def first(self) -> Bool[np.ndarray, " n"]:
        """Whether each is the first of its group."""
        return np.concatenate([[True], self.groups[1:] != self.groups[:-1]])[: len(self.groups)]

    def pairs(self) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]:
        """The first of the group of each document that isn't the first, and that document."""
        first = self.first
        leaders = self.indices[np.flatnonzero(first)[np.cumsum(first) - 1]]
        return leaders[~first], self.indices[~first]

    def kept(self, keep: Bool[np.ndarray, " n"]) -> Self:
        """Those to keep, without groups of one."""
        indices, groups = self.indices[keep], self.groups[keep]
        same = groups[1:] == groups[:-1]
        several = np.concatenate([[False], same]) | np.concatenate([same, [False]])
        several = several[: len(groups)]
        return type(self)(indices[several], groups[several])


def _band_keys(slots: UInt16[np.ndarray, "n slots"]) -> UInt64[np.ndarray, "n bands"]:
    rows = slots.reshape(-1, BANDS, ROWS).astype(np.uint64)
    return mixed((rows * _row_factors()).sum(axis=2, dtype=np.uint64))


@cache
def _row_factors() -> UInt64[np.ndarray, " rows"]:
    seeds = np.array([derive_seed("row", row) for row in range(ROWS)], np.uint64)
    return mixed(seeds) | np.uint64(1)
