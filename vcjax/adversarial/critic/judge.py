"""The verdict on every answer: the rules decide first, then the Critics."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vcjax.adversarial.calls import ACTOR, CallBuilder, Steps
from vcjax.adversarial.cells import Attempt
from vcjax.adversarial.critic.panel import CriticPanel
from vcjax.adversarial.critic.rules import rule_verdict
from vcjax.adversarial.critic.votes import Submission
from vcjax.adversarial.reasons import Origin
from vcjax.charter.schema import Charter
from vcjax.roles.role import CONTENT_FILTER, Message, Reply
from vcjax.roles.verdict import Verdict


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
        """As the ledger stores it, in one level."""
        return {"by": self.by, "answer": self.answer, **asdict(self.verdict)}


class AnswerJudge:
    """Decides whether answers are acceptable, by the charter."""

    def __init__(self, charter: Charter, panel: CriticPanel | None, calls: CallBuilder) -> None:
        """Args: without a `panel` an answer that no rule rejects is accepted."""
        self._charter, self._panel, self._calls = charter, panel, calls

    def judge(
        self, attempt: Attempt, cases: Sequence[Case], by: str = ACTOR
    ) -> Steps[list[Candidate]]:
        """The replies with their verdicts, in their order. Args: `by` is the role that replied."""
        verdicts: dict[int, Verdict] = {}
        submissions: dict[int, Submission] = {}
        for n, case in enumerate(cases):
            by_rules = rule_verdict(
                self._charter,
                by,
                query=case.conversation[-1]["content"],
                reply=case.reply,
                lang=attempt.lang,
                subdomain=attempt.subdomain,
            )
            if by_rules is not None:
                verdicts[n] = by_rules
            elif self._panel is None:
                verdicts[n] = Verdict("accepted")
            else:
                submissions[n] = Submission(
                    id=case.stage,
                    lang=attempt.lang,
                    question=transcript(case.conversation),
                    answer=case.reply.text,
                    subdomain=attempt.subdomain,
                )
        if self._panel is not None:
            verdicts |= yield from self._voted(attempt, self._panel, submissions)
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
            votes = [next(remaining) for _ in own]
            # A filter of every Critic's endpoint blocks; with some votes left, the panel decides.
            if all(reply.outcome == CONTENT_FILTER for reply in votes):
                verdicts[n] = Verdict("blocked", f"{Origin.CRITIC}: {CONTENT_FILTER}")
            else:
                verdicts[n] = panel.verdict(submissions[n], votes)
        return verdicts


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
