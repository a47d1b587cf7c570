"""Tens of thousands of terms, found in a text in one pass: whole words in English, any characters
in Chinese.

A term is looked up by the hash of its units (`vcjax.text.grams`): the n-grams of a text, for each n
that a term has, are looked up in a table. That is some operations on arrays for each n, whatever
the number of terms, where a regular expression tries its alternatives one after the other. An
Aho-Corasick automaton is as fast, but finds English terms in the middle of words, too, and would
be a second way beside the n-grams by which near-duplicates and quotations are found.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt64

from vcjax.text.grams import STEP, Units, gram_hashes, prefix_hashes, units_of, units_of_each
from vcjax.text.language import LATIN

LONGEST = 16
"""Units of a term, at most."""
_LEAST_FILTER_BITS = 16
_PLURALS = ("", "s", "es")


class Found(NamedTuple):
    """Where terms are in a block of a text.

    Attributes:
      units: of the block.
      first: for each occurrence the index of its first unit.
      terms: and the index of its term.
    """

    units: Units
    first: Int64[np.ndarray, " n"]
    terms: Int64[np.ndarray, " n"]


class Terms:
    """Terms, and where they are in a text.

    `refugee*` is any word that begins so; an English term may otherwise have the ending of a
    plural. Case doesn't count. Spaces and hyphens may stand between a term's units, punctuation
    may not.
    """

    def __init__(self, terms: Sequence[str]) -> None:
        """Raises ValueError: a term without a letter or digit, or longer than `LONGEST` units."""
        forms: list[str] = []
        owners: list[int] = []
        for index, term in enumerate(terms):
            stem = term.strip().removesuffix("*")
            plural = not term.endswith("*") and LATIN.match(stem[-1:])
            variants = [stem + ending for ending in _PLURALS] if plural else [stem]
            forms += variants
            owners += [index] * len(variants)
        keys, shapes = np.zeros(len(forms), np.uint64), np.zeros((len(forms), 2), np.int64)
        for index, hashes, last in units_of_each(forms):
            n, term = len(hashes), terms[owners[index]]
            if n > LONGEST:
                raise ValueError(f"the term {term!r} has {n} words or characters, over {LONGEST}")
            open_end = term.endswith("*")
            keys[index] = gram_hashes(hashes, n)[0]
            shapes[index] = n, last if open_end else 0
        if not shapes[:, 0].all():
            term = terms[owners[int(np.argmin(shapes[:, 0]))]]
            raise ValueError(f"the term {term!r} has no letter or digit")
        order = np.argsort(keys, kind="stable")
        self._keys, self._starts = np.unique(keys[order], return_index=True)
        self._owners = np.array(owners, np.int64)[order]
        self._sizes = np.diff(np.append(self._starts, len(order)))
        found, kinds = np.unique(shapes, axis=0, return_inverse=True)
        self._shapes: list[tuple[int, int]] = list(map(tuple, found.tolist()))
        self._kinds = kinds.reshape(-1)[order]  # the index in `_shapes` of each form
        self._prefixes = sorted({prefix for _, prefix in self._shapes if prefix})
        bits = max(_LEAST_FILTER_BITS, (32 * len(forms)).bit_length())
        self._shift = np.uint64(64 - bits)
        self._filter = np.zeros(1 << bits, np.bool_)
        self._filter[self._keys >> self._shift] = True

    def find(self, text: str) -> Iterator[Found]:
        """Yields the occurrences, block by block; of terms that overlap each one is found."""
        for units in units_of(text):
            # An n-gram of one shape has the hash of another one's by chance alone, so that all of
            # them are looked up at once.
            if not (grams := self._grams(units)):
                return  # there are no terms
            offsets = np.cumsum([0, *map(len, grams)])
            hashes = np.concatenate(grams)
            positions = np.flatnonzero(self._filter[hashes >> self._shift])
            rows = np.searchsorted(self._keys, hashes[positions])
            rows[rows == len(self._keys)] = 0
            positions, rows = (
                each[self._keys[rows] == hashes[positions]] for each in (positions, rows)
            )
            kinds = np.searchsorted(offsets, positions, side="right") - 1
            first = positions - offsets[kinds]
            n, prefix = np.array(self._shapes).T[:, kinds]
            last = first + n - 1
            true = units.phrase[first] == units.phrase[last]
            true &= (units.ends - units.starts)[last] >= prefix
            first, rows, kinds = first[true], rows[true], kinds[true]
            sizes = self._sizes[rows]
            within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            forms = np.repeat(self._starts[rows], sizes) + within
            same = self._kinds[forms] == np.repeat(kinds, sizes)
            yield Found(units, np.repeat(first, sizes)[same], self._owners[forms[same]])

    def _grams(self, units: Units) -> list[UInt64[np.ndarray, " grams"]]:
        """The n-grams of each shape of a term, in the order of the shapes."""
        hashes = units.hashes
        whole = [hashes[:0], hashes]  # by n
        for n in range(2, 1 + max((n for n, _ in self._shapes), default=0)):
            added = hashes[n - 1 :]
            whole.append(whole[-1][: len(added)] * STEP + added)
        prefixes = dict(zip(self._prefixes, prefix_hashes(units, self._prefixes), strict=True))
        result = []
        for n, prefix in self._shapes:
            if not prefix:
                result.append(whole[n])
            elif n == 1:
                result.append(prefixes[prefix])
            else:
                added = prefixes[prefix][n - 1 :]
                result.append(whole[n - 1][: len(added)] * STEP + added)
        return result
