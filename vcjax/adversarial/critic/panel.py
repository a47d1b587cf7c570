"""The verdict on every answer: the rules decide first, then the votes of one Critic or several."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, get_args

from vcjax.adversarial.calls import ACTOR, CallBuilder, Steps
from vcjax.adversarial.cells import Attempt
from vcjax.adversarial.critic.forms import FORMS, FormName
from vcjax.adversarial.critic.rules import rule_verdicts
from vcjax.adversarial.critic.votes import AcceptThresholds, Submission, Vote, vote_verdict
from vcjax.adversarial.reasons import FILTERS, AnswerReason, Origin
from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError, suggest
from vcjax.roles.role import CONTENT_FILTER, Message, Reply
from vcjax.roles.verdict import Verdict

BLOCKED = f"{Origin.CRITIC}: {CONTENT_FILTER}"
"""Reason of a verdict where every Critic's endpoint has filtered its vote."""


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
        # By Critic: votes keep their numbers, and with them their seeds, when a Critic is added
        # behind.
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
    # Of equally common reasons the first: a counter keeps the order in which they came.
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


@dataclass(frozen=True)
class Case:
    """A reply to a conversation's last message; `stage` distinguishes the Critics' calls on it."""

    conversation: Sequence[Message]
    reply: Reply
    stage: str


@dataclass(frozen=True)
class Candidate:
    """An answer with its verdict; `by` is the role that gave it."""

    answer: str
    verdict: Verdict
    by: str = ACTOR

    def record(self) -> dict[str, Any]:
        """The candidate as the ledger stores it, in one level."""
        return {"by": self.by, "answer": self.answer, **asdict(self.verdict)}


class AnswerJudge:
    """Decides whether answers are acceptable, by the charter."""

    def __init__(
        self,
        charter: Charter,
        panel: CriticPanel | None,
        calls: CallBuilder,
        filters: Collection[AnswerReason] = FILTERS,
    ) -> None:
        """Args:
        panel: without one an answer that no rule rejects is accepted.
        filters: see `rule_verdicts`.
        """
        self._charter, self._panel, self._calls = charter, panel, calls
        self._filters = filters
        self.trusts_critic = False
        """Whether the Critic is asked about what filters reject, and decides it."""

    def judge(
        self, attempt: Attempt, cases: Sequence[Case], by: str = ACTOR
    ) -> Steps[list[Candidate]]:
        """The replies with their verdicts, in their order. Args: `by` is the role that replied."""
        verdicts: dict[int, Verdict] = {}
        submissions: dict[int, Submission] = {}
        filtered: dict[int, Verdict] = {}
        for n, case in enumerate(cases):
            found = rule_verdicts(
                self._charter,
                by,
                query=case.conversation[-1]["content"],
                reply=case.reply,
                lang=attempt.lang,
                subdomain=attempt.subdomain,
                filters=self._filters,
            )
            # All of them: a Critic may overrule cues, never a failed check of the charter, and
            # where one of these decides no call need be paid for.
            if found and not (self.trusts_critic and all(each.overrulable for each in found)):
                verdicts[n] = found[0].verdict
                continue
            if self._panel is None:
                verdicts[n] = Verdict("accepted")
                continue
            if found:
                filtered[n] = found[0].verdict
            submissions[n] = Submission(
                id=case.stage,
                lang=attempt.lang,
                question=transcript(case.conversation),
                answer=case.reply.text,
                subdomain=attempt.subdomain,
            )
        if self._panel is not None:
            verdicts |= yield from self._voted(attempt, self._panel, submissions)
        verdicts |= {n: _decided(verdicts[n], by_filter) for n, by_filter in filtered.items()}
        return [Candidate(case.reply.text, verdicts[n], by) for n, case in enumerate(cases)]

    def _voted(
        self, attempt: Attempt, panel: CriticPanel, submissions: Mapping[int, Submission]
    ) -> Steps[dict[int, Verdict]]:
        requests = {n: panel.vote_requests(each) for n, each in submissions.items()}
        replies = yield [
            self._calls.build(
                request.critic,
                attempt.id,
                _stage(request.submission, request.vote),
                request.messages,
                request.json_schema,
            )
            for own in requests.values()
            for request in own
        ]
        remaining, verdicts = iter(replies), {}
        for n, own in requests.items():
            verdicts[n] = voted(panel, submissions[n], [next(remaining) for _ in own])
        return verdicts


def voted(panel: CriticPanel, submission: Submission, replies: Sequence[Reply]) -> Verdict:
    """The panel's verdict on an answer, which is blocked where a filter blocks every vote."""
    # With some votes left, the panel decides.
    # An endpoint's filter is no verdict of the Critic: blocked, neither rejected nor unscored.
    if all(reply.outcome == CONTENT_FILTER for reply in replies):
        return Verdict("blocked", BLOCKED)
    return panel.verdict(submission, replies)


def _decided(by_critic: Verdict, by_filter: Verdict) -> Verdict:
    """A trusted Critic's verdict, or the filter's where the Critic gave none; `filter` in its
    detail is the filter's reason."""
    decides = by_critic.kind in ("accepted", "rejected")
    detail = {**by_critic.detail, "filter": by_filter.reason}
    return replace(by_critic if decides else by_filter, detail=detail)


def best_verdict(verdicts: Sequence[Verdict]) -> int:
    """Index of the candidate that is chosen for the attempt.

    The accepted one of the highest score, else an unscored one (it might have been accepted), else
    the rejected one of the highest score; the earlier one of equals.
    """
    order = {"accepted": 3, "unscored": 2, "rejected": 1, "blocked": 0}
    ranks = [(order[v.kind], -1 if v.score is None else v.score) for v in verdicts]
    return ranks.index(max(ranks))


def transcript(conversation: Sequence[Message]) -> str:
    """A conversation as a Critic sees it: its query alone, or all turns with their roles."""
    if len(conversation) == 1:
        return conversation[0]["content"]
    return "\n\n".join(f"[{each['role']}]\n{each['content']}" for each in conversation)


def _stage(submission: str, vote: int) -> str:
    # The first vote has the name that calls had before there could be several.
    return f"critic/{submission}/v{vote}" if vote else f"critic/{submission}"
