"""The four ends of an attempt. A parse failure is unscored, never a score."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["accepted", "rejected", "unscored", "blocked"]
KINDS: tuple[Kind, ...] = ("accepted", "rejected", "unscored", "blocked")


@dataclass(frozen=True)
class Verdict:
    """How an attempt, or one candidate answer, ended, and why.

    `score` is the Critics', 0 to 5, where there is one, and `detail` what they said, for the
    record; see `vcjax.adversarial.critic.panel.aggregate`.
    """

    kind: Kind
    reason: str = ""
    score: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict, hash=False)
