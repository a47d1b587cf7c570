"""Which attempts a wave makes: a pure function of what the waves before it came to.

So kills, concurrency and the order in which replies come change nothing: the same ledger is
continued with the same wave.
"""

import heapq
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from vcjax.adversarial.cells import Attempt, Cell
from vcjax.charter.schema import Charter
from vcjax.core.seeds import derive_seed


@dataclass(frozen=True)
class Tally:
    """What a cell has come to: decided attempts, and those of them that were accepted."""

    attempts: int = 0
    accepted: int = 0

    def counted(self, kind: str) -> "Tally":
        """With one attempt more, which ended as `kind`."""
        return Tally(self.attempts + 1, self.accepted + (kind == "accepted"))


@dataclass(frozen=True)
class Limits:
    """When a run ends.

    Attributes:
      attempts: of the whole run.
      per_cell: accepted pairs wanted of every cell; 0 wants none and spends all attempts.
      cell_attempts: of one cell; 0 for no bound but that of the whole run.
      wave: attempts that are planned together.
    """

    attempts: int
    per_cell: int = 0
    cell_attempts: int = 0
    wave: int = 16


class Planner:
    """Plans wave after wave over a matrix of cells."""

    def __init__(
        self,
        cells: Sequence[Cell],
        charter: Charter,
        limits: Limits,
        *,
        seed: int,
        paired: Collection[str] = (),
        held_out: bool = False,
        shares: Mapping[Cell, int] | None = None,
    ) -> None:
        """Args:
        cells: in the order in which they come round.
        paired: attacks of which two attempts in a row share a topic.
        held_out: use the topics that are kept out of training, instead of the others.
        shares: attempts of each cell, where they aren't to be spread evenly.
        """
        self.cells, self.limits = tuple(cells), limits
        self._seed, self._paired, self._shares = seed, frozenset(paired), shares
        self._topics = {
            (cell.subdomain, cell.lang): charter.subdomain(cell.subdomain).topics_for(
                cell.lang, held_out=held_out
            )
            for cell in cells
        }

    def plan(
        self, wave: int, tallies: Mapping[Cell, Tally], begun: Sequence[Cell] = ()
    ) -> list[Attempt]:
        """The attempts of a wave; an empty list ends the run.

        The cell with the fewest attempts comes first. No cell gets more attempts at a time than
        its missing pairs call for at the rate at which it has accepted so far. The two framings of
        a pair are never in different waves, for which one may be longer by one attempt.

        Args:
          tallies: of all waves before this one.
          begun: cells of this wave's attempts that were made under smaller limits; the plan goes on
            after them.
        """
        planned = Counter(begun)
        done = {cell: tallies.get(cell, Tally()) for cell in self.cells}
        first = sum(tally.attempts for tally in done.values()) + len(begun)
        waiting = [
            (done[cell].attempts + planned[cell], rank, cell)
            for rank, cell in enumerate(self.cells)
        ]
        heapq.heapify(waiting)
        attempts: list[Attempt] = []
        while waiting and len(begun) + len(attempts) < self.limits.wave:
            index, rank, cell = heapq.heappop(waiting)
            size = 2 if cell.attack in self._paired else 1
            room = self.limits.attempts - first - len(attempts)
            if size > min(room, self._bound(cell) - index):
                continue
            if planned[cell] >= self._wanted(done[cell]):
                continue
            for n in range(size):
                attempts.append(self._attempt(first + len(attempts), wave, cell, index + n))
            planned[cell] += size
            heapq.heappush(waiting, (index + size, rank, cell))
        return attempts

    def filled(self, tally: Tally) -> bool:
        """Whether a cell has all the pairs that are wanted of it."""
        return tally.accepted >= self.limits.per_cell

    def _bound(self, cell: Cell) -> int:
        """Attempts that a cell may have in all."""
        limits = self.limits
        bound = limits.cell_attempts or limits.attempts
        return bound if self._shares is None else min(bound, self._shares.get(cell, 0))

    def _wanted(self, tally: Tally) -> int:
        """Attempts that a cell should have in one wave.

        By an optimist's rate, (accepted + 1) / (attempts + 1): its first attempts are as many as
        the pairs that are wanted of it, and a cell that accepts few gets more at a time.
        """
        if not self.limits.per_cell:
            return self.limits.wave
        missing = max(0, self.limits.per_cell - tally.accepted)
        return -(-missing * (tally.attempts + 1) // (tally.accepted + 1))

    def _attempt(self, number: int, wave: int, cell: Cell, index: int) -> Attempt:
        topics = self._topics[cell.subdomain, cell.lang]
        turn = index // 2 if cell.attack in self._paired else index
        # Not by language: topics are parallel, and so are the questions then.
        start = derive_seed(self._seed, cell.subdomain, cell.attack, cell.severity, "topic")
        topic = topics[(start + turn) % len(topics)]
        return Attempt(
            *(number, wave, cell.subdomain, cell.attack, cell.lang),
            *(cell.severity, cell.turns, index, topic),
        )
