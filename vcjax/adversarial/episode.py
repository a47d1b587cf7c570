"""What an attempt does, step by step, by the kind of its attack."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from vcjax.adversarial.actor import Actor, Checkpoint
from vcjax.adversarial.asking import Asking
from vcjax.adversarial.attacks.prompts import (
    Turn,
    attacker_messages,
    extract_query,
    follow_up_messages,
)
from vcjax.adversarial.attacks.queries import Queries
from vcjax.adversarial.attacks.refinement import Refinement
from vcjax.adversarial.attacks.style import Attack
from vcjax.adversarial.calls import Steps
from vcjax.adversarial.candidates import best, failure
from vcjax.adversarial.cells import Attempt
from vcjax.adversarial.outcome import ACTOR, ATTACKER, TARGET, Candidate, Outcome
from vcjax.roles.role import Message
from vcjax.roles.verdict import Verdict


@dataclass(frozen=True)
class Opening:
    """The first query; empty with the verdict `end` where there is none.

    `fault` is why the Attacker's own text wasn't used, where it wasn't.
    """

    text: str
    source: str
    fault: str | None = None
    end: Verdict | None = None


@dataclass(frozen=True)
class Written:
    """A text of the Attacker's; `fault` is why it is no good, `failed` why there is none."""

    text: str
    fault: str | None = None
    failed: Verdict | None = None


class Turns:
    """Makes the script of every attempt of a run."""

    def __init__(
        self,
        attacks: Mapping[str, Attack],
        asking: Asking,
        queries: Queries,
        *,
        actor: Actor | None,
        target: Checkpoint | None,
        refinement: Refinement,
        tries: int = 1,
        only_failures: bool = False,
    ) -> None:
        """Args:
        actor: writes the answers to learn from; without one the target's answers are measured.
        target: the checkpoint that is attacked, if any: it answers first.
        tries: how often the Attacker may write one query.
        only_failures: no answer is written to what the target withstood.
        """
        self._attacks, self._asking, self._queries = attacks, asking, queries
        self._actor, self._target, self._refinement = actor, target, refinement
        self._tries, self._only_failures = tries, only_failures
        self._first_framings: dict[str, str] = {}

    def script(self, attempt: Attempt) -> Steps[Outcome]:
        """The steps of one attempt, from its first query to its verdict."""
        attack = self._attacks[attempt.attack]
        second = attack.kind == "pair" and attempt.index % 2
        opening = yield from (
            self._second_framing(attempt, attack) if second else self._opening(attempt, attack)
        )
        if opening.end is not None:
            return Outcome(opening.end, opening.source, opening.fault)
        if attack.kind == "pair" and not second:
            self._first_framings[attempt.id] = opening.text
        if attack.kind == "escalation":
            return (yield from self._escalation(attempt, attack, opening))
        query, seen = opening.text, []
        if attack.kind == "refinement":
            query, seen = yield from self._refinement.refine(attempt, attack, query)
        return (yield from self._turn(attempt, opening, (_user(query),), 0, seen))

    def _turn(
        self,
        attempt: Attempt,
        opening: Opening,
        conversation: tuple[Message, ...],
        turn: int,
        seen: Sequence[Candidate] = (),
        *,
        last: bool = True,
    ) -> Steps[Outcome]:
        """The answers to a conversation's last query, and what they come to.

        Args:
          turn: which query it is, from 0.
          seen: answers to it that are there already.
          last: whether no query follows; before that the Actor doesn't answer for a target that
            withstands.
        """
        candidates = list(seen)
        if self._target and not any(each.by == TARGET for each in candidates):
            candidates += yield from self._target.answer_all(attempt, {f"t{turn}": conversation})
        for own in candidates:
            if own.by == TARGET:
                held = own.verdict.kind == "accepted"
                if self._actor is None or (held and not last):
                    return _outcome(opening, conversation, candidates, own)
                if held and self._only_failures:
                    withstood = Candidate("", Verdict("rejected", "target: withstood"))
                    return _outcome(opening, conversation, candidates, withstood)
        assert self._actor is not None, "neither an Actor nor a target"
        candidates += yield from self._actor.answer(attempt, conversation, turn)
        written = [each for each in candidates if each.by == ACTOR]
        chosen = written[best([each.verdict for each in written])]
        return _outcome(opening, conversation, candidates, chosen)

    def _opening(self, attempt: Attempt, attack: Attack) -> Steps[Opening]:
        prompt = attacker_messages(attack, attempt.lang, attempt.topic, attempt.severity)
        return (yield from self._written(attempt, attack, prompt))

    def _second_framing(self, attempt: Attempt, attack: Attack) -> Steps[Opening]:
        """The query of the attempt before this one, framed for the other side."""
        first_id = f"{attempt.cell.id}.{attempt.index - 1}"
        for _ in range(self._tries):
            yield []  # the first framing takes as many steps at most
        first = self._first_framings.pop(first_id, "")
        if not first:
            return Opening("", ATTACKER, None, Verdict("rejected", "attacker: no first framing"))
        prompt = follow_up_messages(
            attack, attempt.lang, attempt.topic, attempt.severity, [Turn(first)]
        )
        return (yield from self._written(attempt, attack, prompt))

    def _written(
        self, attempt: Attempt, attack: Attack, prompt: Sequence[Message]
    ) -> Steps[Opening]:
        """A first query of the Attacker's, or a seed question where it wrote none that is good."""

        text, source = "", ATTACKER
        written = yield from self._asked(
            *(attempt, ATTACKER, prompt), partial(self._queries.fault, *(attempt, attack, prompt))
        )
        if written.failed is not None:
            return Opening("", source, None, written.failed)
        if written.fault is None:
            text = written.text
        else:
            text, source = self._queries.seed(attempt) or "", "seed"
        if not text:
            reason = f"attacker: {written.fault}, and no seed question is left"
            return Opening("", source, written.fault, Verdict("rejected", reason))
        self._queries.take(text)
        return Opening(text, source, written.fault)

    def _asked(
        self,
        attempt: Attempt,
        stage: str,
        prompt: Sequence[Message],
        fault_of: Callable[[str], str | None],
    ) -> Steps[Written]:
        """What the Attacker writes: the first text without a fault, or the last."""
        written = Written("")
        for n in range(self._tries):
            place = f"{stage}/{n}" if n else stage
            [reply] = yield [self._asking.call(ATTACKER, attempt.id, place, prompt)]
            text = extract_query(reply.text)
            written = Written(text, fault_of(text), failure(ATTACKER, reply))
            if written.fault is None or written.failed is not None:
                break
        return written

    def _escalation(self, attempt: Attempt, attack: Attack, opening: Opening) -> Steps[Outcome]:
        """A conversation that goes on from the answers that it got, while they hold."""
        conversation: tuple[Message, ...] = (_user(opening.text),)
        for turn in range(attempt.turns - 1):
            outcome = yield from self._turn(attempt, opening, conversation, turn, last=False)
            fell = self._target and any(each.by == ACTOR for each in outcome.candidates)
            if fell or outcome.verdict.kind != "accepted":
                return outcome
            conversation += ({"role": "assistant", "content": outcome.answer or ""},)
            prompt = follow_up_messages(
                *(attack, attempt.lang, attempt.topic, attempt.severity), _turns(conversation)
            )
            written = yield from self._asked(
                *(attempt, f"{ATTACKER}/t{turn + 1}", prompt),
                partial(self._queries.fault_in_conversation, *(attempt, attack, prompt)),
            )
            if written.failed is not None:
                return replace(outcome, verdict=written.failed)
            if written.fault is not None:
                end = Verdict("rejected", f"follow-up: {written.fault}")
                return replace(outcome, verdict=end)
            conversation += (_user(written.text),)
        return (yield from self._turn(attempt, opening, conversation, attempt.turns - 1))


def _outcome(
    opening: Opening,
    conversation: tuple[Message, ...],
    candidates: Sequence[Candidate],
    chosen: Candidate,
) -> Outcome:
    return Outcome(
        *(chosen.verdict, opening.source, opening.fault),
        *(conversation, chosen.answer, tuple(candidates)),
    )


def _turns(conversation: Sequence[Message]) -> list[Turn]:
    """Queries with their answers, of a conversation that ends with an answer."""
    return [
        Turn(query["content"], answer["content"])
        for query, answer in zip(conversation[::2], conversation[1::2], strict=True)
    ]


def _user(text: str) -> Message:
    return {"role": "user", "content": text}
