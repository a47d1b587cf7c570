"""The answers of a ledger that its Critics judged, with their decisions as the ledger has them."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median_low
from typing import Any, cast

from vcjax.adversarial.calls import ACTOR, CRITIC, TARGET
from vcjax.adversarial.critic.forms import FormName
from vcjax.adversarial.critic.panel import BLOCKED, aggregate, transcript
from vcjax.adversarial.critic.votes import PRINCIPLE, AcceptThresholds, Submission, Vote
from vcjax.adversarial.ledger.query import attempts
from vcjax.adversarial.reasons import Origin
from vcjax.roles.verdict import Kind, Verdict

FLOOR, WHOLE = "floor", "score"
"""Reasons of a rejection: a floor rule; the score of the whole. Any other is the aspect that was
too low."""


@dataclass(frozen=True)
class Decision:
    """What one Critic, or several together, decided on an answer.

    Attributes:
      why: the kind where it accepts or blocks; the aspect that rejects, a principle or one of
        `forms.ASPECTS`, or FLOOR or WHOLE; or why it is unscored.
      score: of the whole answer.
      scores: by aspect; of several votes the lower median.
    """

    kind: Kind
    why: str
    score: float | None = None
    scores: Mapping[str, int] = field(default_factory=dict)


def decision(verdict: Mapping[str, Any], thresholds: AcceptThresholds) -> Decision | None:
    """The decision of the Critics alone, by the votes behind a verdict; None where they weren't
    asked.

    Where a filter decided though a Critic was asked, the verdict itself is the filter's.

    Args:
      verdict: `{kind, reason, detail}`, as a ledger has it.
    """
    if verdict["kind"] == "blocked" and verdict["reason"] == BLOCKED:
        return Decision("blocked", "blocked")
    records = verdict["detail"].get("votes", [])
    if not records:
        return None
    votes = [_vote(record) for record in records]
    critics = [record["critic"] for record in records]
    found = aggregate(votes, thresholds, critics, cast(FormName, verdict["detail"]["form"]))
    given: dict[str, list[int]] = {}
    for vote in votes:
        for name, score in vote.scores.items():
            given.setdefault(name.removeprefix(PRINCIPLE), []).append(score)
    scores = {name: median_low(each) for name, each in given.items()}
    return Decision(found.kind, _why(found), found.score, scores)


def _vote(record: Mapping[str, Any]) -> Vote:
    """A vote from its record, as `critic.panel.aggregate` makes it."""
    if record["kind"] == "unscored":
        return Vote(unscored=record["reason"])
    return Vote(record["scores"], record["expected"], tuple(record["broken"]), record["reason"])


def _why(verdict: Verdict) -> str:
    if verdict.kind == "accepted":
        return verdict.kind
    what = verdict.reason.removeprefix(f"{Origin.CRITIC}: ")
    if verdict.kind == "unscored":
        return what
    # `facts 2`, `floor no_hatred`: many answers share the first word, and few the second.
    return what.partition(" ")[0]


@dataclass(frozen=True)
class JudgedAnswer:
    """An answer that a Critic judged.

    Attributes:
      attempt: whose query it answers; the answers of one attempt are alike.
      by: the role that gave it.
      exported: whether it was accepted and chosen for its attempt, so that it is trained on.
      submission: what is judged.
      decision: of the ledger's Critics.
    """

    attempt: str
    by: str
    exported: bool
    submission: Submission
    decision: Decision


def judged_answers(
    connection: sqlite3.Connection, thresholds: AcceptThresholds
) -> Iterator[JudgedAnswer]:
    """The answers that the Critics judged, in the order of their attempts.

    Args:
      thresholds: of the ledger's run.
    """
    for attempt in attempts(connection):
        question = transcript(attempt["conversation"] or [_user(attempt["query"])])
        chosen = attempt["answer"] if attempt["kind"] == "accepted" else None
        for number, candidate in enumerate(attempt["candidates"]):
            found = decision(candidate, thresholds) if candidate["answer"] else None
            if found is None:
                continue
            exported = candidate["by"] == ACTOR and candidate["answer"] == chosen
            exported = exported and candidate["kind"] == "accepted"
            if exported:
                chosen = None  # of two that are alike, one is
            yield JudgedAnswer(
                attempt["id"],
                candidate["by"],
                exported,
                Submission(
                    id=f"{attempt['id']}/{number}",
                    lang=attempt["lang"],
                    question=question,
                    answer=candidate["answer"],
                    subdomain=attempt["subdomain"],
                ),
                found,
            )


@dataclass(frozen=True)
class Makers:
    """Who made a ledger: the models of its Critics, and the families of those who answered."""

    critics: tuple[str, ...]
    answering: tuple[str, ...]


def makers(connection: sqlite3.Connection) -> Makers:
    """Who made a ledger, by its calls."""
    rows = connection.execute(
        "SELECT DISTINCT substr(stage, 1, instr(stage || '/', '/') - 1) AS role, model, family "
        "FROM calls JOIN setups ON setups.key = setup ORDER BY role, model"
    ).fetchall()

    def those(roles: Iterable[str], column: str) -> tuple[str, ...]:
        found = (row[column] for row in rows if row["role"] in roles)
        return tuple(dict.fromkeys(found))

    return Makers(those([CRITIC], "model"), those([ACTOR, TARGET], "family"))


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}
