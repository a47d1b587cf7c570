"""Which attempts a wave makes: a pure function of the results of the waves before it, where cells
have quotas, and else of nothing but the seed.

So kills, concurrency and the order in which replies come change nothing: the same ledger is
continued with the same wave. The report of what was missed, and the allocation of a closed loop's
next round to the cells where attempts give pairs, follow.
"""

import heapq
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from vcjax.adversarial.cells import Attempt, Cell, CellGroup
from vcjax.charter.schema import Charter
from vcjax.core.seeds import derive_seed
from vcjax.text.language import Language


@dataclass(frozen=True)
class Tally:
    """The decided attempts of a cell, and those of them that are accepted attacks.

    A pair whose query is a seed question, or off its style or topic, fills no quota. What an
    allocation is made from counts an attempt as accepted only by
    `vcjax.adversarial.attack_success.gave_pair`.
    """

    attempts: int = 0
    accepted: int = 0

    def counted(self, kind: str, attack: bool = True) -> "Tally":
        """With one attempt more, which ended as `kind`.

        Args:
          attack: whether its query is an attack; see `counts_as_attack`.
        """
        return Tally(self.attempts + 1, self.accepted + (attack and kind == "accepted"))


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
    """Plans wave after wave over a group of cells."""

    def __init__(
        self,
        group: CellGroup,
        charter: Charter,
        limits: Limits,
        *,
        seed: int,
        in_a_row: Mapping[str, int] | None = None,
        shares: Mapping[Cell, int] | None = None,
        topics: Mapping[tuple[str, Language], Sequence[str]] | None = None,
    ) -> None:
        """Args:
        in_a_row: for attacks of which several attempts in a row share a topic, how many.
        shares: attempts of each cell, where they aren't to be spread evenly.
        topics: by subdomain and language, instead of the charter's.
        """
        self.cells, self.limits = group.cells, limits
        self._seed, self._in_a_row, self._shares = seed, in_a_row or {}, shares
        self._topics = topics or {
            (cell.subdomain, cell.lang): charter.subdomain(cell.subdomain).topics_for(
                cell.lang, held_out=group.held_out_topics
            )
            for cell in group.cells
        }

    def plan(
        self,
        wave: int,
        tallies: Mapping[Cell, Tally],
        begun: Sequence[Cell] = (),
        undecided: Mapping[Cell, int] = MappingProxyType({}),
    ) -> list[Attempt]:
        """The attempts of a wave; an empty list ends the run.

        The cell with the fewest attempts comes first. No cell gets more attempts at a time than
        its missing pairs call for at the rate at which it has accepted so far. Attempts that share
        a topic are never in different waves, so a wave may exceed its size by what completes them.

        Args:
          tallies: of the waves before this one that the plan knows.
          begun: cells of this wave's attempts that were made under smaller limits; the plan
            continues after them.
          undecided: attempts of each cell in the others. They count as if they all might fill it.
        """
        planned = Counter(begun)
        done = {cell: tallies.get(cell, Tally()) for cell in self.cells}
        made = {cell: done[cell].attempts + undecided.get(cell, 0) for cell in self.cells}
        first = sum(made.values()) + len(begun)
        waiting = [(made[cell] + planned[cell], rank, cell) for rank, cell in enumerate(self.cells)]
        heapq.heapify(waiting)
        attempts: list[Attempt] = []
        while waiting and len(begun) + len(attempts) < self.limits.wave:
            # The fewest attempts first; of equal ones, the cell that comes first in the group's
            # order.
            index, rank, cell = heapq.heappop(waiting)
            size = self._in_a_row.get(cell.attack, 1)
            remaining = self.limits.attempts - first - len(attempts)
            # A cell that can't be continued isn't pushed back: nothing in this wave changes that.
            if size > min(remaining, self._bound(cell) - index):
                continue
            if self.limits.per_cell and (
                planned[cell] + undecided.get(cell, 0) >= self._wanted(done[cell])
            ):
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
        """Attempts that a cell should have until more is known of it.

        By an optimist's rate, (accepted + 1) / (attempts + 1): a new cell gets as many attempts as
        pairs are wanted of it, and one that accepts few gets more at a time.
        """
        missing = max(0, self.limits.per_cell - tally.accepted)
        return -(-missing * (tally.attempts + 1) // (tally.accepted + 1))

    def _attempt(self, number: int, wave: int, cell: Cell, index: int) -> Attempt:
        topics = self._topics[cell.subdomain, cell.lang]
        # Not by language: topics are parallel, and so the questions of both languages are, too.
        # Cells begin with different topics, so that a short run doesn't have the first topic alone.
        start = derive_seed(self._seed, cell.subdomain, cell.attack, cell.severity, "topic")
        topic = topics[(start + index // self._in_a_row.get(cell.attack, 1)) % len(topics)]
        return Attempt(number=number, wave=wave, index=index, topic=topic, **asdict(cell))


def quota_report(planner: Planner, tallies: Mapping[Cell, Tally]) -> dict[str, Any]:
    """The quota, how many cells have met it, and every cell that has not, with its tally.

    A cell without its pairs has spent its own budget (`cell_attempts`) or the run's (`attempts`).
    """
    limits = planner.limits
    unmet = []
    for cell in planner.cells:
        tally = tallies.get(cell, Tally())
        if not planner.filled(tally):
            # Both budgets may be spent; the cell's own is the one that limited this cell.
            own = limits.cell_attempts and tally.attempts >= limits.cell_attempts
            spent = "cell_attempts" if own else "attempts"
            unmet.append({**asdict(cell), **asdict(tally), "spent": spent})
    return {
        "per_cell": limits.per_cell,
        "cells": len(planner.cells),
        "met": len(planner.cells) - len(unmet),
        "unmet": unmet,
    }


@dataclass(frozen=True)
class Posterior:
    """Beta posterior of the share of a cell's attempts that give a pair, from a uniform prior;
    counts may be discounted."""

    succeeded: float = 0.0
    failed: float = 0.0

    @property
    def parameters(self) -> tuple[float, float]:
        return 1 + self.succeeded, 1 + self.failed


def posteriors(
    cells: Collection[Cell], rounds: Sequence[Mapping[Cell, Tally]], discount: float
) -> dict[Cell, Posterior]:
    """What is known of each cell.

    An attempt succeeds if it gave a pair to train on: the attacked model failed *and* a good answer
    was written. Where only the first counted, cells that never yield a pair would get nearly all
    attempts: `tests/adversarial/test_plan.py` simulates it.

    Rounds attack different checkpoints, so older counts are discounted (Raj and Kalyani, "Taming
    non-stationary bandits", arXiv 1707.09727).

    Args:
      rounds: the attempts of the rounds so far, and those that gave a pair; the latest last.
      discount: what a count is worth a round later, 0 to 1.
    """
    weights = [discount**age for age in range(len(rounds))][::-1]
    found = {}
    for cell in cells:
        tallies = [tally.get(cell, Tally()) for tally in rounds]
        weighted = list(zip(weights, tallies, strict=True))
        pairs = sum(weight * tally.accepted for weight, tally in weighted)
        attempts = sum(weight * tally.attempts for weight, tally in weighted)
        found[cell] = Posterior(pairs, attempts - pairs)
    return found


def allocate(
    known: Mapping[Cell, Posterior], attempts: int, *, floor: int, seed: int
) -> dict[Cell, int]:
    """The next round's attempts for each cell: the floor, and the rest by Thompson sampling
    (Thompson, 1933; Russo et al., "A tutorial on Thompson sampling", arXiv 1707.02038).

    Each attempt beyond the floor goes to the cell whose draw from its posterior is the highest: a
    cell gets attempts in proportion to the probability that it yields the most pairs, so that what
    is hardly known is tried too. Where the floor needs more attempts than there are, they are
    spread evenly.
    """
    cells = list(known)
    # A floor under every cell: a posterior that is wrong is only corrected by further attempts.
    shares = Counter({cell: floor for cell in cells})
    if floor * len(cells) > attempts:
        whole, rest = divmod(attempts, len(cells))
        return {cell: whole + (n < rest) for n, cell in enumerate(cells)}
    random = np.random.default_rng(seed)
    a, b = np.array([known[cell].parameters for cell in cells]).T
    # A draw for each attempt, not one for the round: one draw would send all attempts to a single
    # cell, and nothing is learned between the attempts of a round that would correct it.
    for _ in range(attempts - floor * len(cells)):
        shares[cells[int(np.argmax(random.beta(a, b)))]] += 1
    return dict(shares)
