"""One attempt, step by step: queries, answers and verdicts, by its attack's kind of turns.

    first query -> check of its style and topic -> answer(s) -> verdict(s) -> [next query -> ...]
        -> the chosen answer's verdict

`STEPS` at the end has the steps of each kind.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vcjax.adversarial.actor import Actor, AttackedModel
from vcjax.adversarial.attacks.prompts import (
    QUERY_SCHEMA,
    Turn,
    attacker_messages,
    follow_up_messages,
    read_query,
)
from vcjax.adversarial.attacks.queries import Queries
from vcjax.adversarial.attacks.style import Attack, Kind
from vcjax.adversarial.attacks.style_check import (
    STYLE_SCHEMA,
    QueryCheck,
    TopicWords,
    read_check,
    rule_check,
    style_messages,
)
from vcjax.adversarial.calls import (
    ACTOR,
    ATTACKER,
    CRITIC,
    TARGET,
    CallBuilder,
    Steps,
    failed_call,
)
from vcjax.adversarial.cells import Attempt
from vcjax.adversarial.critic.panel import Candidate, best_verdict
from vcjax.adversarial.reasons import NO_STAND_IN, AttemptReason, Origin, QueryReason
from vcjax.adversarial.refinement import Refinement
from vcjax.roles.role import Message
from vcjax.roles.verdict import Verdict

STAND_IN = "seed"
"""The source of a query that a written question stood in for, as the ledger names it."""


@dataclass(frozen=True)
class EpisodeResult:
    """The end of one attempt, as the ledger records it.

    Attributes:
      source: `attacker`, or STAND_IN: who wrote the query.
      attacker_fault: why the Attacker's own query wasn't used, where it wasn't.
      check: of the Attacker's first query, or of the refined one; None where nobody checked.
      conversation: up to the query that was answered last; empty without any query.
      answer: of the candidate that was chosen.
      candidates: every answer to that query, the attacked model's own among them.
    """

    verdict: Verdict
    source: str
    attacker_fault: QueryReason | None = None
    check: QueryCheck | None = None
    conversation: tuple[Message, ...] = ()
    answer: str | None = None
    candidates: tuple[Candidate, ...] = ()

    @property
    def query(self) -> str:
        return self.conversation[-1]["content"] if self.conversation else ""

    def record(self) -> dict[str, Any]:
        """What the ledger stores about the query."""
        return {
            "source": self.source,
            "attacker_fault": self.attacker_fault,
            "query": self.query,
            "style_checked": self.check and self.check.outcome,
            "checked_by": self.check and self.check.by,
        }

    @property
    def opening(self) -> str:
        """The query that was asked first."""
        return self.conversation[0]["content"] if self.conversation else ""


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


class Episodes:
    """Makes the steps of every attempt of a run."""

    def __init__(
        self,
        attacks: Mapping[str, Attack],
        calls: CallBuilder,
        queries: Queries,
        *,
        actor: Actor | None,
        target: AttackedModel | None,
        refinement: Refinement,
        topics: TopicWords,
        critic_checks: bool = False,
        tries: int = 1,
        only_failures: bool = False,
    ) -> None:
        """Args:
        actor: writes the answers to train on; without one the target's answers are measured.
        target: the model that is attacked, if any: it answers first.
        topics: by which rules find a query on its topic.
        critic_checks: whether the first Critic checks queries, and rules only where it can't.
        tries: how often the Attacker may write one query.
        only_failures: no answer is written where the attack on the target failed.
        """
        self._attacks, self._calls, self._queries = attacks, calls, queries
        self._actor, self._target, self._refinement = actor, target, refinement
        self._topics, self._critic_checks = topics, critic_checks
        self._tries, self._only_failures = tries, only_failures
        self._first_framings: dict[str, str] = {}

    def steps(self, attempt: Attempt) -> Steps[EpisodeResult]:
        """The steps of one attempt, from its first query to its verdict."""
        attack = self._attacks[attempt.attack]
        return (yield from STEPS[attack.kind](self, attempt, attack))

    def single(self, attempt: Attempt, attack: Attack) -> Steps[EpisodeResult]:
        """One query."""
        opening = yield from self._opening(attempt, attack)
        return (yield from self._answered(attempt, attack, opening))

    def pair(self, attempt: Attempt, attack: Attack) -> Steps[EpisodeResult]:
        """One framing of a question; attempts of an odd index ask the one before the other way."""
        if attempt.index % 2:
            opening = yield from self._second_framing(attempt, attack)
        else:
            opening = yield from self._opening(attempt, attack)
            if opening.end is None:
                self._first_framings[attempt.id] = opening.text
        return (yield from self._answered(attempt, attack, opening))

    def escalation(self, attempt: Attempt, attack: Attack) -> Steps[EpisodeResult]:
        """A conversation that continues from its own answers, as long as they are accepted."""
        opening = yield from self._opening(attempt, attack)
        if opening.end is not None:
            return _unasked(opening)
        opening = yield from self._checked(attempt, attack, opening)
        conversation: tuple[Message, ...] = (_user(opening.text),)
        for turn in range(attempt.turns - 1):
            result = yield from self._turn(attempt, opening, conversation, turn, last=False)
            # The Actor answers before the last turn only where the attack on the target succeeded.
            succeeded = self._target and any(each.by == ACTOR for each in result.candidates)
            if succeeded or result.verdict.kind != "accepted":
                return result
            conversation += ({"role": "assistant", "content": result.answer or ""},)
            prompt = follow_up_messages(
                attack, attempt.lang, attempt.topic, attempt.severity, _turns(conversation)
            )
            written = yield from self._written(
                attempt,
                f"{ATTACKER}/t{turn + 1}",
                prompt,
                lambda text, prompt=prompt: self._queries.follow_up_reject_reason(
                    attack, attempt.lang, prompt, text
                ),
            )
            if written.failed is not None:
                return replace(result, verdict=written.failed)
            if written.reject_reason is not None:
                end = Verdict("rejected", f"{Origin.FOLLOW_UP}: {written.reject_reason}")
                return replace(result, verdict=end)
            conversation += (_user(written.text),)
        return (yield from self._turn(attempt, opening, conversation, attempt.turns - 1))

    def refinement(self, attempt: Attempt, attack: Attack) -> Steps[EpisodeResult]:
        """A query that is improved by the answers to it, and then asked by itself."""
        opening = yield from self._opening(attempt, attack)
        if opening.end is not None:
            return _unasked(opening)
        refined = yield from self._refinement.refine(attempt, attack, opening.text)
        if refined.query != opening.text:
            # The Attacker's own by now, whatever it was refined from.
            opening = replace(opening, text=refined.query, source=ATTACKER)
        opening = yield from self._checked(attempt, attack, opening)
        conversation = (_user(refined.query),)
        if self._target and refined.failed:
            # The attack on the target was not carried through, so nobody knows how it would end.
            end = Candidate("", refined.failed)
            return _result(opening, conversation, refined.answers, end)
        return (yield from self._turn(attempt, opening, conversation, 0, refined.answers))

    def _answered(self, attempt: Attempt, attack: Attack, opening: Opening) -> Steps[EpisodeResult]:
        """The answers to the first query alone."""
        if opening.end is not None:
            return _unasked(opening)
        opening = yield from self._checked(attempt, attack, opening)
        return (yield from self._turn(attempt, opening, (_user(opening.text),), 0))

    def _checked(self, attempt: Attempt, attack: Attack, opening: Opening) -> Steps[Opening]:
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

    def _turn(
        self,
        attempt: Attempt,
        opening: Opening,
        conversation: tuple[Message, ...],
        turn: int,
        answers: Sequence[Candidate] = (),
        *,
        last: bool = True,
    ) -> Steps[EpisodeResult]:
        """The answers to a conversation's last query, and the one that is chosen.

        Args:
          turn: which query it is, from 0.
          answers: to it that there are already.
          last: whether no query follows. Before the last, the Actor answers only where the attack
            on the target succeeded: the target's own answers continue the conversation.
        """
        candidates = list(answers)
        if self._target and not any(each.by == TARGET for each in candidates):
            candidates += yield from self._target.answer_all(attempt, {f"t{turn}": conversation})
        for own in candidates:
            if own.by == TARGET:
                failed = own.verdict.kind == "accepted"
                if self._actor is None or (failed and not last):
                    return _result(opening, conversation, candidates, own)
                # There is no answer to train on; the target's own stays among the candidates.
                if failed and self._only_failures:
                    end = Verdict("rejected", f"{Origin.TARGET}: {AttemptReason.ATTACK_FAILED}")
                    return _result(opening, conversation, candidates, Candidate("", end))
        assert self._actor is not None, "neither an Actor nor a target"
        candidates += yield from self._actor.answer(attempt, conversation, turn)
        written = [each for each in candidates if each.by == ACTOR]
        chosen = written[best_verdict([each.verdict for each in written])]
        return _result(opening, conversation, candidates, chosen)

    def _opening(self, attempt: Attempt, attack: Attack) -> Steps[Opening]:
        prompt = attacker_messages(attack, attempt.lang, attempt.topic, attempt.severity)
        return (yield from self._first_query(attempt, attack, prompt))

    def _second_framing(self, attempt: Attempt, attack: Attack) -> Steps[Opening]:
        """The query of the attempt before this one, framed for the other side."""
        first_id = f"{attempt.cell.id}.{attempt.index - 1}"
        for _ in range(self._tries):
            yield []  # the first framing takes as many steps at most
        first = self._first_framings.pop(first_id, "")
        if not first:
            end = Verdict("rejected", f"{Origin.ATTACKER}: {AttemptReason.NO_FIRST_FRAMING}")
            return Opening("", ATTACKER, None, end)
        prompt = follow_up_messages(
            attack, attempt.lang, attempt.topic, attempt.severity, [Turn(first)]
        )
        return (yield from self._first_query(attempt, attack, prompt))

    def _first_query(
        self, attempt: Attempt, attack: Attack, prompt: Sequence[Message]
    ) -> Steps[Opening]:
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


STEPS: dict[Kind, Callable[[Episodes, Attempt, Attack], Steps[EpisodeResult]]] = {
    "single": Episodes.single,
    "pair": Episodes.pair,
    "escalation": Episodes.escalation,
    "refinement": Episodes.refinement,
}
"""The steps of an attempt, by the kind of its attack; see `attacks.style.TURN_KINDS`."""


def _unasked(opening: Opening) -> EpisodeResult:
    assert opening.end is not None
    return EpisodeResult(opening.end, opening.source, opening.reject_reason)


def _result(
    opening: Opening,
    conversation: tuple[Message, ...],
    candidates: Sequence[Candidate],
    chosen: Candidate,
) -> EpisodeResult:
    return EpisodeResult(
        verdict=chosen.verdict,
        source=opening.source,
        attacker_fault=opening.reject_reason,
        check=opening.check,
        conversation=conversation,
        answer=chosen.answer,
        candidates=tuple(candidates),
    )


def _turns(conversation: Sequence[Message]) -> list[Turn]:
    """Queries with their answers, of a conversation that ends with an answer."""
    return [
        Turn(query["content"], answer["content"])
        for query, answer in zip(conversation[::2], conversation[1::2], strict=True)
    ]


def _user(text: str) -> Message:
    return {"role": "user", "content": text}
