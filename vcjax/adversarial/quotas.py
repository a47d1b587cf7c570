"""Which cells have the pairs that were wanted of them, and which ended without."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vcjax.adversarial.cells import Cell
from vcjax.adversarial.plan import Planner, Tally


def quota_report(planner: Planner, tallies: Mapping[Cell, Tally]) -> dict[str, Any]:
    """The quota, how many cells have met it, and every cell that has not, with what it came to.

    A cell without its pairs has spent its own budget (`cell_attempts`) or the run's (`attempts`).
    """
    limits = planner.limits
    unmet = []
    for cell in planner.cells:
        tally = tallies.get(cell, Tally())
        if not planner.filled(tally):
            own = limits.cell_attempts and tally.attempts >= limits.cell_attempts
            spent = "cell_attempts" if own else "attempts"
            unmet.append({**asdict(cell), **asdict(tally), "spent": spent})
    return {
        "per_cell": limits.per_cell,
        "cells": len(planner.cells),
        "met": len(planner.cells) - len(unmet),
        "unmet": unmet,
    }


def shortfall(summary: Mapping[str, Any]) -> str:
    """One line on what a run has not come to: pairs without an export, cells without their pairs.

    Empty where there is nothing to tell.
    """
    parts = []
    if not summary["exported"]:
        parts.append(
            f"the pairs aren't exported: {summary['calibration']['gate']['why']}; set "
            "config.force_export=True to have them all the same"
        )
    if summary["quota"]["unmet"]:
        parts.append(unmet_line(summary["quota"]))
    return "; ".join(parts)


def unmet_line(quota: Mapping[str, Any]) -> str:
    """One line for the terminal that says which cells fell short, the worst first."""
    worst = sorted(quota["unmet"], key=lambda cell: cell["accepted"])[:3]
    named = "; ".join(
        f"{cell['subdomain']}/{cell['attack']}/{cell['lang']}: {cell['accepted']} accepted of "
        f"{cell['attempts']} attempts"
        for cell in worst
    )
    return (
        f"{len(quota['unmet'])} of {quota['cells']} cells ended without their "
        f"{quota['per_cell']} pairs ({named}{'; …' if len(quota['unmet']) > 3 else ''}); "
        "raise config.attempts or config.cell_attempts to go on"
    )
