"""Near-duplicates among a million short texts: MinHash finds candidates, exact Jaccard decides."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Protocol

import numpy as np
from jaxtyping import UInt16
from rensa import RMinHash  # type: ignore[attr-defined]

from vcjax.data.sketches import SLOTS, Sketches
from vcjax.text.language import HAN

_GRAM = 5
_NOT_WORD = re.compile(r"[\W_]+")
_HAN_RUN = re.compile(f"{HAN.pattern}+")
_SEED = 1


class Texts(Protocol):
    """Texts that are not to come again."""

    def first_match(self, text: str) -> int | None:
        """The place of the first of them that comes again in `text`, or None."""
        ...


class NearDuplicates:
    """Texts in the order in which they were added, and the first of them that a text is like.

    What is found is a pure function of the texts and their order. There is no false match: the
    sketches (Broder, 1997, by rensa's R-MinHash) only propose, and each proposal is checked on the
    texts. Under one pair in a hundred is missed at the threshold, and next to none far above it.
    `scale.measure_near_duplicates` measures a million: memory, seconds, and what is missed.
    """

    def __init__(self, threshold: float = 0.7, texts: Iterable[str] = ()) -> None:
        """Args: `threshold` is the least `similarity` of a match; it is meant for 0.7 and more."""
        self.threshold = threshold
        self._sketches = Sketches()
        self._texts: list[str] = []
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str) -> int:
        """Takes a text in and returns its place, counted from 0."""
        plain = plain_text(text)
        self._texts.append(plain)
        return self._sketches.add(sketch_of(grams_of(plain)))

    def first_match(self, text: str) -> int | None:
        """The place of the earliest text that is at least `threshold` similar, or None."""
        grams = grams_of(plain_text(text))
        own = frozenset(grams)
        for place in self._sketches.like(sketch_of(grams), self.threshold):
            if jaccard(own, frozenset(grams_of(self._texts[place]))) >= self.threshold:
                return place
        return None


class Quoted:
    """A few texts, and the first of them that another text quotes nearly whole.

    For sets that no query may contain, such as a benchmark, whatever is put before or after them.
    """

    def __init__(self, texts: Iterable[str], threshold: float = 0.8) -> None:
        """Args: `threshold` is the least share of a text's n-grams in one that quotes it."""
        self.threshold = threshold
        self._sizes: list[int] = []
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, text in enumerate(texts):
            grams = _gram_set(text)
            self._sizes.append(len(grams))
            for gram in grams:
                self._places[gram].append(place)

    def first_match(self, text: str) -> int | None:
        """The place of the first text that is quoted, or None."""
        grams = _gram_set(text)
        shared = Counter(place for gram in grams for place in self._places.get(gram, ()))
        quoted = (place for place, n in shared.items() if n >= self.threshold * self._sizes[place])
        return min(quoted, default=None)


def similarity(a: str, b: str) -> float:
    """Jaccard similarity, 0 to 1, of the sets of character 5-grams of two texts.

    Case, spaces and punctuation don't count. A Chinese character counts for two, so that a gram is
    a short English word or two to three Chinese characters, wherever a text changes between them.
    """
    return jaccard(_gram_set(a), _gram_set(b))


def share_quoted(text: str, source: str) -> float:
    """The share, 0 to 1, of a text's n-grams that are in a source, which may be much longer."""
    grams = _gram_set(text)
    return len(grams & _gram_set(source)) / len(grams)


def sketch_of(grams: list[str]) -> UInt16[np.ndarray, "80"]:
    """The MinHash sketch of a set of n-grams, 16 bits of each slot."""
    sketch = RMinHash(SLOTS, _SEED)
    sketch.update(grams)
    return np.array(sketch.digest(), np.uint32).astype(np.uint16)


def plain_text(text: str) -> str:
    """The letters and digits of a text, in one case; each Chinese character counts for two."""
    letters = _NOT_WORD.sub("", unicodedata.normalize("NFKC", text).casefold())
    return _HAN_RUN.sub(lambda run: "\0".join(run.group()) + "\0", letters)


def grams_of(plain: str) -> list[str]:
    """The n-grams of a `plain_text`; a shorter one is the only one of its own."""
    return [plain[i : i + _GRAM] for i in range(max(1, len(plain) - _GRAM + 1))]


def _gram_set(text: str) -> frozenset[str]:
    return frozenset(grams_of(plain_text(text)))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Jaccard similarity, 0 to 1, of two sets of n-grams."""
    return len(a & b) / len(a | b)
