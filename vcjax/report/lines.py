"""The last lines of the demo, for a terminal: they say what the report says."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.changes import comparison_readings
from vcjax.report.pressure.change import pressure_lines
from vcjax.stats.intervals import Interval

_KINDS = ("attempts", "accepted", "rejected", "unscored", "blocked")


def demo_lines(summary: Mapping[str, Any]) -> list[str]:
    """Training, synthesis, the evaluation before and after, and facts under pressure.

    Args:
      summary: what `vcjax.road.demo.run_demo` returned.
    """
    lines = [
        f"{name:12} loss {stage['first_loss']:.3f} -> {stage['last_loss']:.3f}, "
        f"{stage['tokens']} tokens"
        for name, stage in summary["stages"].items()
    ]
    synthesis = ", ".join(f"{summary['synthesis'][kind]} {kind}" for kind in _KINDS)
    lines.append(f"synthesis    {synthesis}")
    before, after = (summary["evaluation"][side] for side in ("before", "after"))
    read_as = comparison_readings(summary["evaluation"]["comparison"], after["confidence"])
    for lang in before["languages"]:
        scores = " -> ".join(_score(side["languages"][lang]) for side in (before, after))
        rates = " -> ".join(
            _rate(side["all_checks"]["languages"][lang]) for side in (before, after)
        )
        judge, checks = (read_as["languages", lang, name] for name in ("judge", "all_checks"))
        lines.append(f"{lang:12} judge {scores}: {judge}; all rule checks {rates}: {checks}")
    if summary["same_family"]:
        lines.append("The judge is of the judged model's family: its scores are no evidence.")
    return [*lines, *pressure_lines(summary["pressure"])]


def _score(cell: Mapping[str, Any]) -> str:
    return "unscored" if cell["mean"] is None else f"{Interval.of(cell, 'mean'):.2f}"


def _rate(cell: Mapping[str, Any]) -> str:
    return f"{Interval.of(cell, 'rate'):.0%}"
