"""What a run shows while it goes on: the tallies of its cells, and a bar with the funnel."""

from collections import Counter
from typing import Self

from vcjax.adversarial.cells import Cell
from vcjax.adversarial.plan import Planner, Tally
from vcjax.adversarial.reasons import FUNNEL, stages_passed
from vcjax.core.progress import Progress as Bar
from vcjax.roles.verdict import KINDS

_PAUSE = 0.2
"""Seconds between two updates of the progress bar on a terminal."""


class Progress:
    """The tallies of a run by cell, and a progress bar with its funnel; a context manager."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self.tallies: dict[Cell, Tally] = {}
        self._filled_cells = 0
        self._stages: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()

    def __enter__(self) -> Self:
        attempts = self._planner.limits.attempts
        self._bar = Bar(total=attempts, desc="attempts", mininterval=_PAUSE)
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def restored(self, cell: Cell, kind: str, reason: str, attack: bool) -> None:
        """Counts an attempt that the ledger had already; see `decided`."""
        self._count(cell, kind, reason, attack)
        # `initial` keeps attempts of earlier starts out of the speed that the bar shows.
        self._bar.initial += 1
        self._bar.n += 1

    def decided(self, cell: Cell, kind: str, reason: str, attack: bool) -> None:
        """Counts an attempt that has just ended, and shows it.

        Args:
          attack: whether its query is an attack; see `counts_as_attack`.
        """
        self._count(cell, kind, reason, attack)
        self._bar.set_postfix_str(self.line(), refresh=False)
        self._bar.update()

    def called(self, role: str, under_way: int) -> None:
        """Shows who has just answered a call, and how many calls are under way."""
        # `set_description` would add the colon that the bar and the line of a log have anyway.
        self._bar.set_description_str(f"attempts ({role}, {under_way} calls open)", refresh=False)
        self._bar.moved()

    def line(self) -> str:
        """The funnel in one line, the other ends of attempts, and how many cells are filled."""
        funnel = " > ".join(f"{self._stages[stage]} {stage}" for stage in FUNNEL[1:])
        others = ", ".join(f"{self._kinds[kind]} {kind}" for kind in KINDS[1:])
        line = f"{funnel}; {others}"
        if self._planner.limits.per_cell:
            line += f"; {self._filled_cells} of {len(self._planner.cells)} cells full"
        return line

    def _count(self, cell: Cell, kind: str, reason: str, attack: bool) -> None:
        self._stages.update(FUNNEL[: stages_passed(kind, reason)])
        self._kinds[kind] += 1
        before = self.tallies.get(cell, Tally())
        self.tallies[cell] = after = before.counted(kind, attack)
        self._filled_cells += self._planner.filled(after) and not self._planner.filled(before)
