"""The waves of a run, in their order: which is next, what its plan knows, and which are under way.

Without quotas a plan depends on no verdict, and any number of waves may be under way. With quotas
wave n is planned from the ends of all waves up to n - 1 - `ahead`, even where later ones have ended
already: when that happens depends on who answers how fast, and a run must not.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from vcjax.adversarial.cells import Attempt, Cell
from vcjax.adversarial.plan import Planner, Tally


@dataclass(frozen=True)
class Ended:
    """How an attempt ended, as far as a plan depends on it.

    Attributes:
      attack: whether its query is an attack; see `counts_as_attack`.
    """

    cell: Cell
    kind: str
    attack: bool


@dataclass
class _Wave:
    """A wave that later plans may not know yet.

    Attributes:
      attempts: of it that are under way.
      ended: its others.
    """

    attempts: Sequence[Attempt] = ()
    ended: list[Ended] = field(default_factory=list)

    @property
    def cells(self) -> list[Cell]:
        return [each.cell for each in (*self.ended, *self.attempts)]


class WavePlan:
    """Plans wave after wave, from the attempts that a ledger has already and those that end."""

    def __init__(self, planner: Planner, ahead: int = 0) -> None:
        """Args:
        ahead: see `SynthesisConfig`; it counts with quotas alone.
        """
        self._planner = planner
        self._quotas = bool(planner.limits.per_cell)
        self._ahead = ahead if self._quotas else 0
        self._tallies: dict[Cell, Tally] = {}  # of the waves before those of `_waves`
        self._waves: deque[_Wave] = deque()
        self._number = 0
        self._begun: list[Ended] = []

    @property
    def under_way(self) -> Sequence[Attempt]:
        """The attempts of the first wave that is under way."""
        return self._first().attempts

    def restore(self, wave: int, ended: Ended) -> None:
        """Counts an attempt of the ledger; they come in the order of their waves.

        The last wave may be incomplete, if the run had smaller limits before. It is completed under
        its own number first, since a plan depends on whole waves.
        """
        while self._number < wave:
            self._waves.append(_Wave(ended=self._begun))
            self._number, self._begun = self._number + 1, []
            self._forget()
        self._begun.append(ended)

    def begin(self) -> Sequence[Attempt] | None:
        """The attempts of the next wave; None if there is none, or none before another one ends."""
        while True:
            self._forget()
            if self._quotas and len(self._waves) > self._ahead:
                return None
            undecided = Counter(cell for wave in self._waves for cell in wave.cells)
            begun, self._begun = self._begun, []
            planned = self._planner.plan(
                self._number, self._tallies, [each.cell for each in begun], undecided
            )
            # With quotas, what isn't known yet may still call for more.
            if not planned and not begun and not (self._quotas and undecided):
                return None
            self._waves.append(_Wave(planned, begun))
            self._number += 1
            if planned:
                return planned

    def end(self, ended: Sequence[Ended]) -> None:
        """Ends the first wave that is under way."""
        wave = self._first()
        wave.ended += ended
        wave.attempts = ()

    def _first(self) -> _Wave:
        return next(wave for wave in self._waves if wave.attempts)

    def _forget(self) -> None:
        """Counts the waves that the next plan is to know in its tallies, as far as they ended."""
        while len(self._waves) > self._ahead and not self._waves[0].attempts:
            for each in self._waves.popleft().ended:
                before = self._tallies.get(each.cell, Tally())
                self._tallies[each.cell] = before.counted(each.kind, each.attack)
