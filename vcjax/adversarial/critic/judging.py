"""Answers and what becomes of each: rule checks first, then the Critics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vcjax.adversarial.asking import Asking
from vcjax.adversarial.calls import Steps
from vcjax.adversarial.candidates import before_critic
from vcjax.adversarial.cells import Attempt
from vcjax.adversarial.critic.panel import CriticPanel
from vcjax.adversarial.critic.votes import Exhibit
from vcjax.adversarial.outcome import ACTOR, Candidate
from vcjax.charter.schema import Charter
from vcjax.roles.role import CONTENT_FILTER, Message, Reply
from vcjax.roles.verdict import Verdict


@dataclass(frozen=True)
class Case:
    """A reply to a conversation's last message; `stage` tells the Critics' calls on it apart."""

    conversation: Sequence[Message]
    reply: Reply
    stage: str


class Judging:
    """Decides on answers by the charter."""

    def __init__(self, charter: Charter, panel: CriticPanel | None, asking: Asking) -> None:
        """Args: without a `panel` an answer that no rule rejects is accepted."""
        self._charter, self._panel, self._asking = charter, panel, asking

    def judge(
        self, attempt: Attempt, cases: Sequence[Case], by: str = ACTOR
    ) -> Steps[list[Candidate]]:
        """The replies with their verdicts, in their order. Args: `by` is the role that replied."""
        verdicts: dict[int, Verdict] = {}
        exhibits: dict[int, Exhibit] = {}
        for n, case in enumerate(cases):
            early = before_critic(
                *(self._charter, by),
                query=case.conversation[-1]["content"],
                reply=case.reply,
                lang=attempt.lang,
                subdomain=attempt.subdomain,
            )
            if early is None and self._panel is None:
                verdicts[n] = Verdict("accepted")
            elif early is None:
                shown = transcript(case.conversation)
                place = (case.stage, attempt.lang, shown, case.reply.text, attempt.subdomain)
                exhibits[n] = Exhibit(*place)
            else:
                verdicts[n] = early
        if self._panel is not None:
            verdicts |= yield from self._voted(attempt, self._panel, exhibits)
        return [Candidate(case.reply.text, verdicts[n], by) for n, case in enumerate(cases)]

    def _voted(
        self, attempt: Attempt, panel: CriticPanel, exhibits: Mapping[int, Exhibit]
    ) -> Steps[dict[int, Verdict]]:
        ballots = {n: panel.ballots(exhibit) for n, exhibit in exhibits.items()}
        votes = yield [
            self._asking.call(
                *(ballot.critic, attempt.id, _stage(ballot.exhibit, ballot.vote)),
                *(ballot.messages, ballot.json_schema),
            )
            for own in ballots.values()
            for ballot in own
        ]
        remaining, verdicts = iter(votes), {}
        for n, own in ballots.items():
            cast = [next(remaining) for _ in own]
            if all(reply.outcome == CONTENT_FILTER for reply in cast):
                verdicts[n] = Verdict("blocked", f"critic: {CONTENT_FILTER}")
            else:
                verdicts[n] = panel.verdict(exhibits[n], cast)
        return verdicts


def transcript(conversation: Sequence[Message]) -> str:
    """What a grader is shown of a conversation: its query alone, or all turns with their roles."""
    if len(conversation) == 1:
        return conversation[0]["content"]
    return "\n\n".join(f"[{each['role']}]\n{each['content']}" for each in conversation)


def _stage(exhibit: str, vote: int) -> str:
    return f"critic/{exhibit}/v{vote}" if vote else f"critic/{exhibit}"
