"""The four ends of an attempt. A parse failure is unscored, never a score."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["accepted", "rejected", "unscored", "blocked"]
KINDS: tuple[Kind, ...] = ("accepted", "rejected", "unscored", "blocked")


@dataclass(frozen=True)
class Verdict:
    """How an attempt, or one candidate answer, ended, and why.

    `score` is the Critic's, 0 to 5, where there is one.
    """

    kind: Kind
    reason: str = ""
    score: int | None = None
