"""The diversity of texts: distinct n-grams, self-BLEU, and the n-grams that a selection keeps; of a
run's queries and answers, measured on samples while they stream by."""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from vcjax.adversarial.cells import Cell
from vcjax.core.seeds import derive_seed
from vcjax.text.units import units

Units = tuple[str, ...]

LANGUAGE_SAMPLE, CELL_SAMPLE, BLEU_SAMPLE = 2000, 50, 200
"""Texts at most that a figure is made from: for a language, for a cell, for self-BLEU."""


def ngrams(text: Units, n: int) -> list[Units]:
    return [text[i : i + n] for i in range(len(text) - n + 1)]


def distinct(texts: Iterable[Units], n: int) -> float | None:
    """Distinct n-grams over all n-grams (Li et al., arXiv 1510.03055); None without any.

    It falls with the number of texts, so only sets of the same size can be compared.
    """
    counts = Counter(gram for text in texts for gram in ngrams(text, n))
    return len(counts) / counts.total() if counts else None


def coverage(part: Iterable[Units], whole: Iterable[Units], n: int) -> float | None:
    """The share of the distinct n-grams of `whole` that `part`, a selection of its texts, has."""
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

    The maximum over all texts but one follows without another pass over them.
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
    """A sample of bounded size, chosen by the hash of the records' ids and nothing else."""

    def __init__(self, size: int) -> None:
        self._size, self._kept = size, []

    def add(self, id: str, text: str) -> None:
        # By the id's hash and not by arrival: a run that was killed and continued has the same
        # sample.
        entry = (-derive_seed("sample", id), id, text)
        if len(self._kept) < self._size:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heappushpop(self._kept, entry)

    def texts(self) -> list[str]:
        """The sampled texts in the order of their ids."""
        return [text for _, _, text in sorted(self._kept, key=lambda entry: entry[1])]


class SampledDiversity:
    """Diversity by language and cell: of all queries, and of accepted queries and answers."""

    def __init__(self) -> None:
        self._all: dict[str, Sample] = defaultdict(lambda: Sample(LANGUAGE_SAMPLE))
        self._queries: dict[str, Sample] = defaultdict(lambda: Sample(LANGUAGE_SAMPLE))
        self._answers: dict[str, Sample] = defaultdict(lambda: Sample(LANGUAGE_SAMPLE))
        self._cells: dict[Cell, tuple[Sample, Sample]] = defaultdict(
            lambda: (Sample(CELL_SAMPLE), Sample(CELL_SAMPLE))
        )

    def add(self, cell: Cell, attempt: dict[str, Any]) -> None:
        """Adds an attempt as the ledger gives it."""
        id, query = attempt["id"], attempt["query"]
        if not query:
            return
        asked, accepted = self._cells[cell]
        asked.add(id, query)
        self._all[cell.lang].add(id, query)
        if attempt["kind"] == "accepted":
            accepted.add(id, query)
            self._queries[cell.lang].add(id, query)
            self._answers[cell.lang].add(id, attempt["answer"])

    def languages(self) -> dict[str, Any]:
        """`{accepted_queries, accepted_answers, coverage}` by language."""
        return {
            lang: {
                "accepted_queries": _figures(self._queries[lang], lang),
                "accepted_answers": _figures(self._answers[lang], lang),
                "coverage": _coverage(self._queries[lang], self._all[lang], lang),
            }
            for lang in sorted(self._all)
        }

    def cell(self, cell: Cell) -> dict[str, Any]:
        """`{texts, distinct_1, distinct_2, self_bleu, coverage}` of a cell's accepted queries."""
        asked, accepted = self._cells[cell]
        figures = _figures(accepted, cell.lang)
        return {**figures, "coverage": _coverage(accepted, asked, cell.lang)}


def _figures(sample: Sample, lang: Any) -> dict[str, Any]:
    texts = [units(text, lang) for text in sample.texts()]
    return {
        "texts": len(texts),
        "distinct_1": distinct(texts, 1),
        "distinct_2": distinct(texts, 2),
        "self_bleu": self_bleu(texts[:BLEU_SAMPLE]),
    }


def _coverage(part: Sample, whole: Sample, lang: Any) -> float | None:
    """The share of the bigrams of all queries that the accepted ones have."""
    some = [units(text, lang) for text in part.texts()]
    # The accepted queries are added, as their sample may have texts that the sample of all lacks.
    return coverage(some, [*some, *(units(text, lang) for text in whole.texts())], 2)
