"""What a measure is: inputs that are checked first, asks that survive a kill, and numbers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from vcjax.charter.schema import Charter
from vcjax.evaluation.benchmark import Benchmark
from vcjax.evaluation.run import Subject
from vcjax.evaluation.summary import Record, difference_record
from vcjax.roles.verdict import HIGHEST, LOWEST
from vcjax.stats.intervals import RATE, Scale, paired_difference
from vcjax.stats.paired import sign_flip_test

JUDGE, CHECKS = "judge", "checks"
"""What a value of an answer is: the judge's score, or whether it passes all of the rule checks."""


class Measure(Protocol):
    """Something that is measured beside the benchmark.

    Attributes:
      inputs: the user's own files that were read, for the lineage.
    """

    inputs: Sequence[Path]

    def __init__(self, charter: Charter, benchmark: Benchmark) -> None:
        """Reads whatever the measure needs and checks it, before any model is opened.

        Args:
          benchmark: with the items that the measure may ask; the evaluation asks them as well.

        Raises:
          UserError: something is missing or doesn't fit.
        """
        ...

    def run(self, subject: Subject, workdir: Path, folder: Path) -> dict[str, Any]:
        """Asks, judges and computes; returns the measure's part of the summary, as JSON has it.

        It may have `tests`: by name, differences with their p-values, which `run.measure` corrects
        for the number of all tests of all measures.

        Args:
          workdir: of the evaluation, whose answers and scores are there.
          folder: of the measure, for what it asks itself.
        """
        ...


def value_kind(subject: Subject) -> str:
    """JUDGE, or CHECKS where there is no judge."""
    return CHECKS if subject.judge is None else JUDGE


def value_of(score: Record, kind: str) -> float | None:
    """The value of an answer by its score record; None where it has none."""
    if kind == JUDGE:
        return None if score["score"] is None else float(score["score"])
    return None if score["checks"] is None else float(all(score["checks"].values()))


def scale_of(kind: str) -> Scale:
    """The least and the greatest value."""
    return (float(LOWEST), float(HIGHEST)) if kind == JUDGE else RATE


def unscored_reasons(scores: Sequence[Record], kind: str) -> dict[str, int]:
    """How many answers have no value, by reason."""
    reasons: dict[str, int] = {}
    for score in scores:
        if value_of(score, kind) is None:
            reason = score["unscored"]
            reasons[reason] = reasons.get(reason, 0) + 1
    return dict(sorted(reasons.items()))


def difference_test(
    before: Float[np.ndarray, " questions"],
    after: Float[np.ndarray, " questions"],
    *,
    scale: Scale,
    confidence: float,
    seed: int,
) -> Record:
    """`{before, after, difference, low, high, n, p}` of values of the same questions.

    The interval is of `paired_difference`: it holds for any distribution on the scale, and is wide
    where values vary little. The p-value is of `sign_flip_test`: which side is which makes no
    difference. So the interval of a significant difference may include 0.
    """
    change = paired_difference(before, after, scale=scale, confidence=confidence, seed=seed)
    if change.p is not None:
        change = replace(change, p=sign_flip_test(after - before, seed=seed))
    return difference_record(before.tolist(), after.tolist(), change)
