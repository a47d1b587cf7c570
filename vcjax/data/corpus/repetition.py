"""How much of a text is repeated: lines, paragraphs and n-grams, as shares of its characters.

The measures are those of Rae et al., "Scaling Language Models: Methods, Analysis & Insights from
Training Gopher" (2021), table A1. Of an n-gram that occurs again the repeats count, not the first
one, as in `datatrove`, whose thresholds were tuned so.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int32, Int64, UInt64

from vcjax.text.language import Language

_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio (Knuth, "Sorting and searching", 6.4)
_BASE = np.uint64(0xD1B54A32D192ED03)  # odd: none of its powers is 0 modulo 2^64


def duplicate_shares(parts: Sequence[str]) -> tuple[float, float]:
    """The share of lines or paragraphs that repeat an earlier one, and theirs of characters."""
    different = set(parts)
    if len(different) == len(parts):
        return 0.0, 0.0
    size = sum(map(len, parts))
    return 1 - len(different) / len(parts), 1 - sum(map(len, different)) / max(1, size)


class Grams:
    """The n-grams of a text's words, or of its characters where it is Chinese.

    Equal n-grams are found by hashes of 64 bits, of which two of a million agree by chance with a
    probability of 3e-8.
    """

    def __init__(self, units: Sequence[str], characters: int, lang: Language) -> None:
        """Args:
        units: of the text, in order (`vcjax.text.units.units`).
        characters: of the whole text, of which shares are.
        """
        count = len(units)
        if lang == "zh":
            ids = np.frombuffer("".join(units).encode("utf-32-le"), np.uint32).astype(np.uint64)
            sizes = np.ones(count, np.int32)
        else:
            numbers = {unit: number for number, unit in enumerate(dict.fromkeys(units))}
            ids = np.fromiter(map(numbers.__getitem__, units), np.uint64, count)
            sizes = np.fromiter(map(len, units), np.int32, count)
        self._known: dict[int, UInt64[np.ndarray, " grams"]] = {1: (ids + np.uint64(1)) * _MIX}
        self._sizes: Int32[np.ndarray, " units"] = sizes
        self._longest = int(sizes.max(initial=0))
        self._characters = max(1, characters)
        self._gap = int(lang == "en")  # a space between two units

    def top_above(self, limits: Sequence[tuple[int, float]]) -> tuple[int, float] | None:
        """The first n for which the most frequent n-gram has too large a share of the characters.

        Args:
          limits: n, ascending, and the largest share of characters in occurrences of one n-gram.

        Returns:
          n and the share; of n-grams that are as frequent, the longest one's.
        """
        most = len(self._sizes)
        for n, limit in limits:
            # No longer n-gram is more frequent. That mostly settles it.
            if most < 2 or most * self._width(n * self._longest, n) <= limit:
                continue
            hashes = self._of(n)
            order = np.argsort(hashes)
            ordered = hashes[order]
            ends = np.flatnonzero(ordered[1:] != ordered[:-1])
            if len(ends) + 1 >= len(ordered):
                return None  # each occurs once
            starts = np.concatenate([[0], ends + 1, [len(ordered)]])
            counts = starts[1:] - starts[:-1]
            most = int(counts.max())
            positions = order[starts[:-1][counts == most]].tolist()
            size = max(int(self._sizes[position : position + n].sum()) for position in positions)
            if (share := most * self._width(size, n)) > limit:
                return n, share
        return None

    def repeated_above(self, limits: Sequence[tuple[int, float]]) -> tuple[int, float] | None:
        """The first n for which n-grams that occurred before have too large a share.

        Args:
          limits: n, ascending, and the largest share of characters in such n-grams.

        Returns:
          n and the share; no character counts twice.
        """
        share = 1.0
        for n, limit in limits:
            # The share doesn't grow with n: what an n-gram repeats its parts repeat.
            if share <= limit:
                continue
            again = self._again(self._of(n))
            covered = np.zeros(len(self._sizes), bool)
            for offset in range(n):
                covered[again + offset] = True
            share = int(self._sizes[covered].sum()) / self._characters
            if share > limit:
                return n, share
        return None

    def _width(self, size: int, n: int) -> float:
        """The share of characters of one n-gram whose units have `size` characters."""
        return (size + self._gap * (n - 1)) / self._characters

    @staticmethod
    def _again(hashes: UInt64[np.ndarray, " grams"]) -> Int64[np.ndarray, " again"]:
        """The positions of n-grams that occurred before."""
        ordered = np.sort(hashes)
        # Most texts repeat little; where nothing is, the order isn't needed.
        if not (ordered[1:] == ordered[:-1]).any():
            return np.empty(0, np.int64)
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        return order[1:][ordered[1:] == ordered[:-1]]

    def _of(self, n: int) -> UInt64[np.ndarray, " grams"]:
        """A hash of each n-gram: a polynomial in _BASE of its units', from those of its halves."""
        if n not in self._known:
            half = n // 2
            # Doubling: an n-gram's hash from those of its halves, so that all sizes take a few
            # passes.
            right = self._of(n - half)[half:]
            factor = np.uint64(pow(int(_BASE), n - half, 1 << 64))
            self._known[n] = self._of(half)[: len(right)] * factor + right
        return self._known[n]
