"""What an attempt came to."""

from dataclasses import asdict, dataclass
from typing import Any

from vcjax.roles.role import Message
from vcjax.roles.verdict import Verdict

ATTACKER, ACTOR, TARGET, CRITIC = "attacker", "actor", "target", "critic"
"""The roles: who writes queries; who answers them, the Actor under the charter's persona and the
checkpoint that is attacked without; who judges."""


@dataclass(frozen=True)
class Candidate:
    """One answer with its own verdict; `by` is who gave it."""

    answer: str
    verdict: Verdict
    by: str = ACTOR

    def record(self) -> dict[str, Any]:
        """In one level, as the ledger has it."""
        return {"by": self.by, "answer": self.answer, **asdict(self.verdict)}


@dataclass(frozen=True)
class Outcome:
    """The end of one attempt, as the ledger records it.

    Attributes:
      source: `attacker` or `seed`: who wrote the query.
      attacker_fault: why the Attacker's own query wasn't used, where it wasn't.
      conversation: up to the query that was answered last; empty without any query.
      answer: of the candidate that stands for the attempt.
      candidates: every answer to that query, the attacked model's own among them.
    """

    verdict: Verdict
    source: str
    attacker_fault: str | None = None
    conversation: tuple[Message, ...] = ()
    answer: str | None = None
    candidates: tuple[Candidate, ...] = ()

    @property
    def query(self) -> str:
        return self.conversation[-1]["content"] if self.conversation else ""

    @property
    def opening(self) -> str:
        """What was asked first."""
        return self.conversation[0]["content"] if self.conversation else ""
