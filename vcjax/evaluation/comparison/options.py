"""What two models find probable among given options: shifts of stance, and right choices.

These are of items of their own, beside the benchmark's questions: a questionnaire's statements, and
multiple-choice questions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vcjax.evaluation.comparison.differences import (
    ALL,
    Record,
    difference_record,
    difference_test,
    rate_changes,
)
from vcjax.evaluation.comparison.runs import ScoredRun
from vcjax.evaluation.options.stances import POSITIONS
from vcjax.stats.effects import standardised_difference
from vcjax.stats.intervals import paired_difference
from vcjax.stats.power import detectable_by_sign_flips, detectable_difference

STANCE, CHOICE, CATEGORY = "stance", "choice", "category"
OPTION_MEASURES = (STANCE, CHOICE)
OptionKey = tuple[str, ...]
"""STANCE, a dimension, a language or `all`; CHOICE, a language; CATEGORY, a category, a language.
"""


@dataclass(frozen=True)
class OptionPairs:
    """The values that two runs have of the same items.

    Attributes:
      measure: STANCE, whose values are positions, or CHOICE, whose values are whether the right
        option was the most probable.
      clusters: what each item is a version of.
    """

    measure: str
    before: Sequence[Any]
    after: Sequence[Any]
    clusters: Sequence[str]

    def record(self, seed: int, confidence: float) -> Record:
        """The difference (after - before), as `differences.compare` has it of a score or of a rate.

        The shift of a stance is that of `difference_test`, with items of several languages as one
        unit: positions move little on their scale, which its test can see.
        """
        if self.measure == CHOICE:
            # Without clusters: each question is in one language, and stands for itself.
            change = paired_difference(self.before, self.after, confidence=confidence, seed=seed)
            return {
                **difference_record(self.before, self.after, change),
                **rate_changes(self.before, self.after, confidence, alone=True),
            }
        shift = difference_test(
            self.before,
            self.after,
            clusters=self.clusters,
            scale=POSITIONS,
            confidence=confidence,
            seed=seed,
        )
        moved = np.subtract(self.after, self.before, dtype=np.float64)
        return {**shift, "standardised": standardised_difference(moved)}

    def detectable(self, level: float, power: float, seed: int) -> float | None:
        """The smallest difference that the test of `record` would have found."""
        if self.measure == CHOICE:
            return detectable_difference(
                self.before, self.after, level=level, power=power, seed=seed
            )
        return detectable_by_sign_flips(
            self.before,
            self.after,
            self.clusters,
            scale=POSITIONS,
            level=level,
            power=power,
            seed=seed,
        )


def option_pairs(before: ScoredRun, after: ScoredRun) -> dict[OptionKey, OptionPairs]:
    """The items that both runs have, word for word, by where they belong."""
    cells: dict[OptionKey, list[tuple[Record, Record]]] = {}
    for measure in OPTION_MEASURES:
        for old, new in _same_items(before, after, measure):
            for key in _cells(measure, old):
                cells.setdefault(key, []).append((old, new))
    found = {}
    for key, members in sorted(cells.items()):
        # In one language alone these would be the same twice.
        if key[-1] != ALL or len({old["lang"] for old, _ in members}) > 1:
            found[key] = _pairs(STANCE if key[0] == STANCE else CHOICE, members)
    return found


def option_notes(runs: Sequence[ScoredRun]) -> list[str]:
    """What a reader must know of the items that are compared, and of those that aren't."""
    first, *others = runs
    notes = []
    for measure in OPTION_MEASURES:
        lacking = [run.name for run in runs if not run.options.get(measure)]
        if lacking and len(lacking) < len(runs):
            notes.append(f"The measure {measure} isn't compared with {', '.join(lacking)}.")
        for run in others:
            pairs = len(list(_same_items(first, run, measure)))
            most = max(len(each.options.get(measure, ())) for each in (first, run))
            if not {first.name, run.name} & set(lacking) and pairs < most:
                notes.append(
                    f"{run.name}: {pairs} items of the measure {measure} are the same as in "
                    f"{first.name} and are compared (of up to {most})."
                )
    return notes


def option_results(records: Mapping[OptionKey, Record]) -> dict[str, Any]:
    """The records as a comparison has them: `stance`, by dimension and language or `all`; `choice`,
    whose `languages` are by language and `categories` by category and language."""
    tree: dict[str, dict[str, Any]] = {}
    for (kind, *group, lang), record in records.items():
        node = tree.setdefault(kind, {})
        for name in group:
            node = node.setdefault(name, {})
        node[lang] = record
    found: dict[str, Any] = {STANCE: tree[STANCE]} if STANCE in tree else {}
    if CHOICE in tree:
        found[CHOICE] = {"languages": tree[CHOICE], "categories": tree[CATEGORY]}
    return found


def _same_items(
    before: ScoredRun, after: ScoredRun, measure: str
) -> Iterator[tuple[Record, Record]]:
    new = {record["id"]: record for record in after.options.get(measure, ())}
    for old in sorted(before.options.get(measure, ()), key=lambda record: record["id"]):
        other = new.get(old["id"])
        # Files may have other items under the same ids.
        if other is not None and other.get("fingerprint") == old.get("fingerprint"):
            yield old, other


def _cells(measure: str, record: Record) -> Iterator[OptionKey]:
    lang = record["lang"]
    if measure == CHOICE:
        yield CHOICE, lang
        yield CATEGORY, record["category"], lang
    elif record["position"] is not None:
        yield STANCE, record["dimension"], ALL
        yield STANCE, record["dimension"], lang


def _pairs(measure: str, members: Sequence[tuple[Record, Record]]) -> OptionPairs:
    field = "position" if measure == STANCE else "correct"
    before, after = ([pair[side][field] for pair in members] for side in (0, 1))
    clusters = [old.get("parallel_id", old["id"]) for old, _ in members]
    return OptionPairs(measure, before, after, clusters)
