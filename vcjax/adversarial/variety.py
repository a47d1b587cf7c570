"""The diversity of a run's queries and answers, measured on samples while they stream by."""

from collections import defaultdict
from typing import Any

from vcjax.adversarial.cells import Cell
from vcjax.adversarial.diversity import Sample, coverage, distinct, self_bleu, units

LANGUAGE_SAMPLE, CELL_SAMPLE, BLEU_SAMPLE = 2000, 50, 200
"""Texts at most that a figure is made from: for a language, for a cell, for self-BLEU."""


class Variety:
    """Samples of queries by language and cell: of all of them, and of accepted ones."""

    def __init__(self) -> None:
        self._all: dict[str, Sample] = defaultdict(lambda: Sample(LANGUAGE_SAMPLE))
        self._queries: dict[str, Sample] = defaultdict(lambda: Sample(LANGUAGE_SAMPLE))
        self._answers: dict[str, Sample] = defaultdict(lambda: Sample(LANGUAGE_SAMPLE))
        self._cells: dict[Cell, tuple[Sample, Sample]] = defaultdict(
            lambda: (Sample(CELL_SAMPLE), Sample(CELL_SAMPLE))
        )

    def add(self, cell: Cell, attempt: dict[str, Any]) -> None:
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
    """Of the bigrams that were asked with, the share that accepted queries still have."""
    some = [units(text, lang) for text in part.texts()]
    return coverage(some, [*some, *(units(text, lang) for text in whole.texts())], 2)
