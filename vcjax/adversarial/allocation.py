"""Where the next round's attempts go: to the cells in which attacks succeed most, as far as known.

Thompson sampling (Thompson, 1933; Russo et al., "A tutorial on Thompson sampling", arXiv
1707.02038): a cell gets attempts in proportion to the probability that it is the weakest, so what
is hardly known is tried too. Rounds attack different checkpoints, so older counts are discounted
(Raj and Kalyani, "Taming non-stationary bandits", arXiv 1707.09727).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vcjax.adversarial.cells import Cell

Outcomes = Mapping[Cell, Mapping[str, int]]
"""By cell, how often the attacked checkpoint's answers were `rejected`, `accepted` and so on."""


@dataclass(frozen=True)
class Posterior:
    """Beta posterior of an attack's success in a cell, from a uniform prior."""

    succeeded: float = 0.0
    withstood: float = 0.0

    @property
    def parameters(self) -> tuple[float, float]:
        return 1 + self.succeeded, 1 + self.withstood


def posteriors(
    cells: Sequence[Cell], rounds: Sequence[Outcomes], discount: float
) -> dict[Cell, Posterior]:
    """What is known of each cell.

    Args:
      rounds: outcomes of the rounds so far, the latest last.
      discount: what a count is worth a round later, 0 to 1.
    """
    weights = [discount**age for age in range(len(rounds))][::-1]
    return {
        cell: Posterior(
            *(
                sum(
                    weight * outcomes.get(cell, {}).get(kind, 0)
                    for weight, outcomes in zip(weights, rounds, strict=True)
                )
                for kind in ("rejected", "accepted")
            )
        )
        for cell in cells
    }


def allocate(
    known: Mapping[Cell, Posterior], attempts: int, *, floor: int, seed: int
) -> dict[Cell, int]:
    """Attempts for each cell: first the floor, or as many as there are, then by Thompson's draws.

    Each attempt beyond the floor goes to the cell whose draw from its posterior is the highest.
    """
    cells = list(known)
    shares = Counter({cell: floor for cell in cells})
    if floor * len(cells) > attempts:
        whole, rest = divmod(attempts, len(cells))
        return {cell: whole + (n < rest) for n, cell in enumerate(cells)}
    random = np.random.default_rng(seed)
    a, b = np.array([known[cell].parameters for cell in cells]).T
    for _ in range(attempts - floor * len(cells)):
        shares[cells[int(np.argmax(random.beta(a, b)))]] += 1
    return dict(shares)
