"""The funnel: how many attempts came how far. Live on the terminal, and in the summary."""

import sys
import time
from collections import Counter
from typing import Self

from tqdm import tqdm

from vcjax.adversarial.cells import Cell
from vcjax.adversarial.plan import Planner, Tally
from vcjax.roles.verdict import KINDS

_ENDS = {"attacker": 0, "follow-up": 1, "target": 1, "actor": 1, "rule": 1, "critic": 2}
STAGES = ("attempts", "asked", "judged", "accepted")
"""All; those with a query; those with an answer that came before the Critic; accepted ones."""

_PAUSE, _LOG_PAUSE = 0.2, 15.0
"""Seconds between two looks at the funnel, on a terminal and in a log."""


def passed(kind: str, reason: str) -> int:
    """How many of STAGES an attempt passed: its reason says where it ended."""
    return len(STAGES) if kind == "accepted" else 1 + _ENDS[reason.partition(":")[0]]


class Funnel:
    """Counts attempts by stage and by verdict, and shows them while a run goes on."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self.tallies: dict[Cell, Tally] = {}
        self._full = 0
        self._stages: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        pause = _PAUSE if sys.stderr.isatty() else _LOG_PAUSE
        self._bar = tqdm(
            total=planner.limits.attempts, desc="attempts", file=sys.stderr, mininterval=pause
        )
        self._pause, self._shown = pause, time.monotonic()

    def restored(self, cell: Cell, kind: str, reason: str) -> None:
        """Counts an attempt that the ledger had already."""
        self._count(cell, kind, reason)
        self._bar.initial += 1
        self._bar.n += 1

    def decided(self, cell: Cell, kind: str, reason: str) -> None:
        """Counts an attempt that has just ended, and shows it."""
        self._count(cell, kind, reason)
        self._bar.set_postfix_str(self.line(), refresh=False)
        self._bar.update()

    def called(self, role: str, done: int, planned: int) -> None:
        """Shows how far the current step is."""
        self._bar.set_description(f"attempts ({role} {done}/{planned})", refresh=False)
        if time.monotonic() - self._shown >= self._pause:
            self._shown = time.monotonic()
            self._bar.refresh()

    def _count(self, cell: Cell, kind: str, reason: str) -> None:
        self._stages.update(STAGES[: passed(kind, reason)])
        self._kinds[kind] += 1
        before = self.tallies.get(cell, Tally())
        self.tallies[cell] = after = before.counted(kind)
        self._full += self._planner.filled(after) and not self._planner.filled(before)

    def line(self) -> str:
        """For one line of the terminal: the funnel, what else became of attempts, full cells."""
        narrowing = " > ".join(f"{self._stages[stage]} {stage}" for stage in STAGES[1:])
        others = ", ".join(f"{self._kinds[kind]} {kind}" for kind in KINDS[1:])
        line = f"{narrowing}; {others}"
        if self._planner.limits.per_cell:
            line += f"; {self._full} of {len(self._planner.cells)} cells full"
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()
