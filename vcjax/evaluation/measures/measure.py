"""What a measure is: inputs that are checked first, asks that survive a kill, and numbers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from vcjax.charter.schema import Charter
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.benchmark import Benchmark
from vcjax.evaluation.subject import Subject
from vcjax.evaluation.summary import Record
from vcjax.roles.verdict import HIGHEST, LOWEST
from vcjax.stats.intervals import RATE, Scale

JUDGE, CHECKS = "judge", "checks"
"""What a value of an answer is: the judge's score, or whether it passes all of the rule checks."""


Sample = Callable[[Sequence[BenchmarkItem]], Sequence[BenchmarkItem]]


class Measure(ABC):
    """Something that is measured beside the benchmark.

    Attributes:
      scores_texts: whether the model must report how likely given texts are.
      needs_judge: whether it measures nothing without a judge.
      input_role: what its inputs are in the lineage.
      inputs: the user's own files that were read, for the lineage.
    """

    scores_texts: ClassVar[bool] = False
    needs_judge: ClassVar[bool] = False
    input_role: ClassVar[str] = "variants"
    inputs: Sequence[Path] = ()

    @abstractmethod
    def __init__(self, charter: Charter, benchmark: Benchmark, sample: Sample) -> None:
        """Reads whatever the measure needs and checks it, before any model is opened.

        A measure with a section in the config takes it as `settings`, too.

        Args:
          benchmark: what the evaluation asks, maybe a sample already.
          sample: draws those of some items that the measure asks.

        Raises:
          UserError: something is missing or doesn't fit.
        """

    @abstractmethod
    def run(self, subject: Subject, workdir: Path, folder: Path) -> dict[str, Any]:
        """Asks, judges and computes; returns the measure's part of the summary, as JSON has it.

        It may have `tests`: by name, differences with their p-values, which `run.measure` corrects
        for the number of all tests of all measures.

        Args:
          workdir: of the evaluation, whose answers and scores are there.
          folder: of the measure, for what it asks itself.
        """


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
