"""How varied a set of texts is: distinct n-grams, self-BLEU, and what selection kept of n-grams."""

import heapq
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from vcjax.charter.registry import Language
from vcjax.core.seeds import derive_seed

Units = tuple[str, ...]
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


def units(text: str, lang: Language) -> Units:
    """Words in English; letters and digits, one by one, in Chinese."""
    folded = text.casefold()
    return tuple(_WORD.findall(folded) if lang == "en" else filter(str.isalnum, folded))


def ngrams(text: Units, n: int) -> list[Units]:
    return [text[i : i + n] for i in range(len(text) - n + 1)]


def distinct(texts: Iterable[Units], n: int) -> float | None:
    """Distinct n-grams over all n-grams (Li et al., arXiv 1510.03055); None without any.

    It falls with the number of texts, so only sets of a size compare.
    """
    counts = Counter(gram for text in texts for gram in ngrams(text, n))
    return len(counts) / counts.total() if counts else None


def coverage(part: Iterable[Units], whole: Iterable[Units], n: int) -> float | None:
    """The share of the distinct n-grams of `whole` that `part`, some of its texts, still has."""
    kept = {gram for text in part for gram in ngrams(text, n)}
    everything = {gram for text in whole for gram in ngrams(text, n)}
    return len(kept & everything) / len(everything) if everything else None


def self_bleu(texts: Sequence[Units], n: int = 4) -> float | None:
    """Mean BLEU of each text against all others (Zhu et al., "Texygen", arXiv 1802.01886): 0 to 1,
    higher where texts repeat each other; None for fewer than two.

    BLEU-n with equal weights (Papineni et al., 2002). A precision without any match counts as half
    a match (Chen and Cherry, 2014, their second method), as texts are short.
    """
    if len(texts) < 2:
        return None
    most = [_two_most(texts, size) for size in range(1, n + 1)]
    lengths = Counter(len(text) for text in texts)
    return sum(_bleu(i, text, most, lengths) for i, text in enumerate(texts)) / len(texts)


def _two_most(texts: Sequence[Units], n: int) -> dict[Units, list[tuple[int, int]]]:
    """For each n-gram the two texts that have it most often, as (count, index of the text).

    So the most of all texts but one is known without going through them again.
    """
    most: dict[Units, list[tuple[int, int]]] = defaultdict(list)
    for index, text in enumerate(texts):
        for gram, count in Counter(ngrams(text, n)).items():
            most[gram] = heapq.nlargest(2, [*most[gram], (count, index)])
    return most


def _bleu(
    index: int, text: Units, most: Sequence[dict[Units, list[tuple[int, int]]]], lengths: Counter
) -> float:
    logs = []
    for size, of_size in enumerate(most, start=1):
        counts = Counter(ngrams(text, size))
        if not counts:
            break  # the text is shorter than that
        matches = 0
        for gram, count in counts.items():
            others = (most_of for most_of, owner in of_size[gram] if owner != index)
            matches += min(count, next(others, 0))
        logs.append(math.log((matches or 0.5) / counts.total()))
    if not logs:
        return 0.0
    others = lengths - Counter([len(text)])
    closest = min(others, key=lambda length: (abs(length - len(text)), length))
    brevity = min(0.0, 1 - closest / len(text))
    return math.exp(brevity + sum(logs) / len(logs))


class Sample:
    """A fixed-size sample of records by the hash of their ids: it depends on nothing else."""

    def __init__(self, size: int) -> None:
        self._size, self._kept = size, []

    def add(self, id: str, text: str) -> None:
        entry = (-derive_seed("sample", id), id, text)
        if len(self._kept) < self._size:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heappushpop(self._kept, entry)

    def texts(self) -> list[str]:
        """The sampled texts in the order of their ids."""
        return [text for _, _, text in sorted(self._kept, key=lambda entry: entry[1])]
