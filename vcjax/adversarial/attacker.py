"""Who writes the queries: the Attacker, a written question where it fails, and their check.

prompt --> text --> why it can't be asked? --> another try, or a question that stands in
             |
             +--> is it of its style and on its topic? (`checked`)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from vcjax.adversarial.attacks.prompts import (
    QUERY_SCHEMA,
    Turn,
    attacker_messages,
    follow_up_messages,
    read_query,
)
from vcjax.adversarial.attacks.queries import Queries
from vcjax.adversarial.attacks.style import Attack
from vcjax.adversarial.attacks.style_check import (
    STYLE_SCHEMA,
    QueryCheck,
    TopicWords,
    read_check,
    rule_check,
    style_messages,
)
from vcjax.adversarial.calls import ATTACKER, CRITIC, CallBuilder, Steps, failed_call
from vcjax.adversarial.cells import Attempt
from vcjax.adversarial.reasons import NO_STAND_IN, AttemptReason, Origin, QueryReason
from vcjax.roles.role import Message
from vcjax.roles.verdict import Verdict

STAND_IN = "seed"
"""The source of a query that a written question stood in for, as the ledger names it."""


@dataclass(frozen=True)
class Opening:
    """The first query; empty with the verdict `end` where there is none.

    `reject_reason` is why the Attacker's own text wasn't used, where it wasn't; a text that a seed
    question stood in for isn't checked.
    """

    text: str
    source: str
    reject_reason: QueryReason | None = None
    end: Verdict | None = None
    check: QueryCheck | None = None


@dataclass(frozen=True)
class WrittenQuery:
    """A text of the Attacker's.

    `reject_reason` is why it can't be asked, and `failed` why there is none.
    """

    text: str
    reject_reason: QueryReason | None = None
    failed: Verdict | None = None


class Attacker:
    """Makes the steps by which a query is written and checked."""

    def __init__(
        self,
        calls: CallBuilder,
        queries: Queries,
        *,
        topics: TopicWords,
        critic_checks: bool = False,
        tries: int = 1,
    ) -> None:
        """Args:
        queries: decides what can be asked, and has the questions that stand in.
        topics: by which rules find a query on its topic.
        critic_checks: whether the first Critic checks queries, and rules only where it can't.
        tries: how often the Attacker may write one query.
        """
        self._calls, self._queries, self._topics = calls, queries, topics
        self._critic_checks, self._tries = critic_checks, tries
        self._first_framings: dict[str, str] = {}

    def first_query(self, attempt: Attempt, attack: Attack) -> Steps[Opening]:
        """The query that opens an attempt."""
        prompt = attacker_messages(attack, attempt.lang, attempt.topic, attempt.severity)
        return (yield from self._asked(attempt, attack, prompt))

    def first_framing(self, attempt: Attempt, attack: Attack) -> Steps[Opening]:
        """The query that opens an attempt, kept for `second_framing` of the attempt after it."""
        opening = yield from self.first_query(attempt, attack)
        if opening.end is None:
            self._first_framings[attempt.id] = opening.text
        return opening

    def second_framing(self, attempt: Attempt, attack: Attack) -> Steps[Opening]:
        """The query of the attempt before this one, framed for the other side."""
        first_id = f"{attempt.cell.id}.{attempt.index - 1}"
        for _ in range(self._tries):
            # Both attempts are in one wave and open in turns, one call each step. The first framing
            # takes at most as many calls as there are tries, so it is there after these.
            yield []
        first = self._first_framings.pop(first_id, "")
        if not first:
            end = Verdict("rejected", f"{Origin.ATTACKER}: {AttemptReason.NO_FIRST_FRAMING}")
            return Opening("", ATTACKER, None, end)
        prompt = follow_up_messages(
            attack, attempt.lang, attempt.topic, attempt.severity, [Turn(first)]
        )
        return (yield from self._asked(attempt, attack, prompt))

    def follow_up(
        self, attempt: Attempt, attack: Attack, conversation: Sequence[Message], turn: int
    ) -> Steps[WrittenQuery]:
        """The next query of a conversation that ends with an answer; no question stands in for one.

        Args:
          turn: which query it is, from 0.
        """
        prompt = follow_up_messages(
            attack, attempt.lang, attempt.topic, attempt.severity, _turns(conversation)
        )
        return (
            yield from self._written(
                attempt,
                f"{ATTACKER}/t{turn}",
                prompt,
                lambda text: self._queries.follow_up_reject_reason(
                    attack, attempt.lang, prompt, text
                ),
            )
        )

    def checked(self, attempt: Attempt, attack: Attack, opening: Opening) -> Steps[Opening]:
        """The opening with the check of the Attacker's query."""
        if opening.source != ATTACKER:
            return opening
        topic, query = attempt.topic, opening.text
        check = None
        if self._critic_checks:
            prompt = style_messages(attack, attempt.lang, topic, query)
            [reply] = yield [
                self._calls.build(CRITIC, attempt.id, f"{CRITIC}/style", prompt, STYLE_SCHEMA)
            ]
            check = read_check(reply)
        if check is None:
            check = rule_check(attack, attempt.lang, self._topics, topic=topic, query=query)
        return replace(opening, check=check)

    def _asked(self, attempt: Attempt, attack: Attack, prompt: Sequence[Message]) -> Steps[Opening]:
        """The Attacker's first query, or a stand-in question where none of its texts can be
        asked."""
        written = yield from self._written(
            attempt,
            ATTACKER,
            prompt,
            lambda text: self._queries.reject_reason(attack, attempt.lang, prompt, text),
        )
        if written.failed is not None:
            return Opening("", ATTACKER, None, written.failed)
        text, source = written.text, ATTACKER
        if written.reject_reason is not None:
            source = STAND_IN
            text = self._queries.stand_in(attempt.lang, attempt.subdomain) or ""
        if not text:
            end = Verdict("rejected", f"{Origin.ATTACKER}: {written.reject_reason}{NO_STAND_IN}")
            return Opening("", source, written.reject_reason, end)
        self._queries.take(text)
        return Opening(text, source, written.reject_reason)

    def _written(
        self,
        attempt: Attempt,
        stage: str,
        prompt: Sequence[Message],
        reason_of: Callable[[str], QueryReason | None],
    ) -> Steps[WrittenQuery]:
        """What the Attacker writes: the first text that can be asked, or the last."""
        written = WrittenQuery("")
        for n in range(self._tries):
            name = f"{stage}/{n}" if n else stage
            [reply] = yield [self._calls.build(ATTACKER, attempt.id, name, prompt, QUERY_SCHEMA)]
            text, unreadable = read_query(reply)
            reason = unreadable or reason_of(text)
            written = WrittenQuery(text, reason, failed_call(ATTACKER, reply))
            if written.reject_reason is None or written.failed is not None:
                break
        return written


def _turns(conversation: Sequence[Message]) -> list[Turn]:
    """Queries with their answers, of a conversation that ends with an answer."""
    return [
        Turn(query["content"], answer["content"])
        for query, answer in zip(conversation[::2], conversation[1::2], strict=True)
    ]
