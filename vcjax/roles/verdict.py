"""The verdict on an attempt or on one answer: accept, reject, unscored or blocked, and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["accepted", "rejected", "unscored", "blocked"]
KINDS: tuple[Kind, ...] = ("accepted", "rejected", "unscored", "blocked")


@dataclass(frozen=True)
class Verdict:
    """How an attempt, or one candidate answer, ended.

    Attributes:
      kind: `accepted`; `rejected` by a rule or a Critic; `unscored` where nobody could decide, such
        as by a reply that can't be parsed, which is never a score; `blocked` by a content filter.
      reason: `<stage>: <why>`, as in `rule: refusal`; an accepted answer may have none.
      score: the median of the Critics' scores, 0 to 5, where there is one.
      detail: the votes behind the verdict, for the record.
    """

    kind: Kind
    reason: str = ""
    score: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict, hash=False)
