"""Several votes on one answer, by one Critic or several, and the verdict that they make."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, get_args

from vcjax.adversarial.critic.forms import FORMS, FormName
from vcjax.adversarial.critic.votes import AcceptThresholds, Submission, Vote, vote_verdict
from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError, suggest
from vcjax.roles.role import Message, Reply
from vcjax.roles.verdict import Verdict


@dataclass(frozen=True)
class VoteRequest:
    """One vote that is asked for.

    Attributes:
      critic: the name of the role that is asked.
      submission: id of what it judges.
      vote: distinguishes the votes on one submission, from 0.
      messages, json_schema: the prompt, and the schema of the reply.
    """

    critic: str
    submission: str
    vote: int
    messages: tuple[Message, ...]
    json_schema: dict[str, Any]


Poll = Callable[[Sequence[VoteRequest]], Sequence[Reply]]
"""Asks for votes, and returns the replies in the order of the requests. Every request needs another
seed, from its submission and vote: with one seed, as at temperature 0, votes don't differ."""


class CriticPanel:
    """The Critics of a run, the form that they fill in and the thresholds for their scores."""

    def __init__(
        self,
        charter: Charter,
        critics: Sequence[str] = ("critic",),
        *,
        form: FormName = "full",
        votes: int = 1,
        accept_score: int = -1,
    ) -> None:
        """Args:
        critics: names of their roles.
        votes: of each of them, on every answer.
        accept_score: 0 to 5 replaces the charter's; see `AcceptThresholds.of`.

        Raises:
          UserError: an unknown form, no critic or no vote.
        """
        if form not in FORMS:
            known = ", ".join(get_args(FormName))
            raise UserError(f"critic_form: {form!r} is none of {known}{suggest(form, FORMS)}")
        if votes < 1 or not critics:
            raise UserError(f"votes: {len(critics)} critics with {votes} votes each decide nothing")
        self.charter, self.form = charter, FORMS[form]
        self.thresholds = AcceptThresholds.of(charter, accept_score)
        self._form_name: FormName = form
        self._voters = [critic for critic in critics for _ in range(votes)]

    def vote_requests(self, submission: Submission) -> list[VoteRequest]:
        """The votes to ask for on one answer: all of the first Critic's, then the next one's."""
        messages = self.form.messages(self.charter, submission)
        schema = self.form.schema(self.charter, submission)
        return [
            VoteRequest(critic, submission.id, vote, messages, schema)
            for vote, critic in enumerate(self._voters)
        ]

    def verdict(self, submission: Submission, replies: Sequence[Reply]) -> Verdict:
        """The verdict by the replies to all of a submission's vote requests."""
        votes = [self.form.read(self.charter, submission, reply) for reply in replies]
        return aggregate(votes, self.thresholds, self._voters, self._form_name)

    def judge(self, submissions: Sequence[Submission], poll: Poll) -> list[Verdict]:
        """Verdicts on many answers, all of whose votes are asked for at once."""
        requests = [self.vote_requests(submission) for submission in submissions]
        replies = iter(poll([request for own in requests for request in own]))
        return [
            self.verdict(submission, [next(replies) for _ in own])
            for submission, own in zip(submissions, requests, strict=True)
        ]


def aggregate(
    votes: Sequence[Vote], thresholds: AcceptThresholds, critics: Sequence[str], form: FormName
) -> Verdict:
    """The majority of the votes' decisions, with the median of their scores.

    More than half of all votes accept an answer, and half of them reject it. Where votes that
    can't be read could tip it either way, it is unscored.

    The verdict's `detail` is `{form, votes, expected, spread, dissent}`: every vote with its
    Critic, decision, reason, scores and broken rules; the median of the expected scores, where
    there are any; the distance of the highest and the lowest score; and the share of the scored
    votes that decided otherwise.

    Args:
      critics: the role that cast each vote.

    Raises:
      ValueError: no votes, or not one critic for each.
    """
    if not votes:
        raise ValueError("no votes")
    decisions = [vote_verdict(vote, thresholds) for vote in votes]
    kinds = Counter(decision.kind for decision in decisions)
    scores = [vote.score for vote in votes if vote.score is not None]
    expected = [vote.expected_score for vote in votes if vote.expected_score is not None]
    score = median(scores) if scores else None
    # Shares of all votes, unread ones included: those count for neither side. A tie rejects, as a
    # wrong answer in the training data costs more than a missing one.
    if 2 * kinds["accepted"] > len(votes):
        kind = "accepted"
    elif 2 * kinds["rejected"] >= len(votes):
        kind = "rejected"
    else:
        kind = "unscored"
    same = [decision.reason for decision in decisions if decision.kind == kind]
    detail = {
        "form": form,
        "votes": [
            _record(critic, vote, decision)
            for critic, vote, decision in zip(critics, votes, decisions, strict=True)
        ],
        "expected": median(expected) if expected else None,
        "spread": max(scores) - min(scores) if scores else None,
        "dissent": 1 - kinds[kind] / len(scores) if scores and kind != "unscored" else None,
    }
    return Verdict(kind, Counter(same).most_common(1)[0][0], score, detail)


def _record(critic: str, vote: Vote, decision: Verdict) -> dict[str, Any]:
    return {
        "critic": critic,
        "kind": decision.kind,
        "reason": vote.reason if vote.unscored is None else vote.unscored,
        "score": vote.score,
        "scores": dict(vote.scores),
        "expected": dict(vote.expected),
        "broken": list(vote.broken),
    }
