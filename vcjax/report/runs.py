"""The evaluations that a report sets side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Run:
    """An evaluation of one model.

    Attributes:
      name: what the tables call it, e.g. `before`.
      role: its colour in the plots, a name in `svg.ROLES`.
      summary: what `vcjax.evaluation.run.evaluate` returned.
    """

    name: str
    role: str
    summary: dict[str, Any]


def languages(runs: Sequence[Run]) -> list[str]:
    """Codes of the languages of the benchmark, sorted."""
    return sorted({code for run in runs for code in run.summary["languages"]})


def held_out(runs: Sequence[Run]) -> set[str]:
    """Domains that no stage was trained on."""
    return {domain for run in runs for domain in run.summary["benchmark"]["held_out"]}


def level(runs: Sequence[Run]) -> str:
    """The confidence of the intervals: `95%`."""
    return f"{runs[0].summary['confidence']:.0%}"
