"""What an attempt does, step by step, by the kind of its attack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vcjax.adversarial.asking import Asking
from vcjax.adversarial.attacker import (
    Turn,
    attacker_messages,
    extract_query,
    follow_up_messages,
)
from vcjax.adversarial.attacks import Attack
from vcjax.adversarial.calls import Steps
from vcjax.adversarial.candidates import best, failure
from vcjax.adversarial.matrix import Attempt
from vcjax.adversarial.modes import Actor, Checkpoint
from vcjax.adversarial.outcome import ACTOR, TARGET, Candidate, Outcome
from vcjax.adversarial.queries import Queries
from vcjax.adversarial.refinement import Refinement
from vcjax.adversarial.verdict import Verdict
from vcjax.roles.role import Message


@dataclass(frozen=True)
class Opening:
    """The first query; empty with the verdict `end` where there is none.

    `fault` is why the Attacker's own text wasn't used, where it wasn't.
    """

    text: str
    source: str
    fault: str | None = None
    end: Verdict | None = None


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
        only_failures: bool = False,
    ) -> None:
        """Args:
        actor: writes the answers to learn from; without one the target's answers are measured.
        target: the checkpoint that is attacked, if any: it answers first.
        only_failures: no answer is written to what the target withstood.
        """
        self._attacks, self._asking, self._queries = attacks, asking, queries
        self._actor, self._target, self._refinement = actor, target, refinement
        self._only_failures = only_failures
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
        return (yield from self._written(attempt, attack, "attacker", prompt))

    def _second_framing(self, attempt: Attempt, attack: Attack) -> Steps[Opening]:
        """The query of the attempt before this one, framed for the other side."""
        yield []  # it is known after the first step
        first = self._first_framings.pop(f"{attempt.cell.id}.{attempt.index - 1}", "")
        if not first:
            return Opening("", "attacker", None, Verdict("rejected", "attacker: no first framing"))
        prompt = follow_up_messages(
            attack, attempt.lang, attempt.topic, attempt.severity, [Turn(first)]
        )
        return (yield from self._written(attempt, attack, "attacker", prompt))

    def _written(
        self, attempt: Attempt, attack: Attack, stage: str, prompt: Sequence[Message]
    ) -> Steps[Opening]:
        """What the Attacker writes, or a seed question where that is no good."""
        [reply] = yield [self._asking.call("attacker", attempt.id, stage, prompt)]
        if failed := failure("attacker", reply):
            return Opening("", "attacker", None, failed)
        text, source = extract_query(reply.text), "attacker"
        fault = self._queries.fault(text, attempt, attack, prompt)
        if fault is not None:
            text, source = self._queries.seed(attempt) or "", "seed"
        if not text:
            reason = f"attacker: {fault}, and no seed question is left"
            return Opening("", source, fault, Verdict("rejected", reason))
        self._queries.take(text)
        return Opening(text, source, fault)

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
            stage = f"attacker/t{turn + 1}"
            [reply] = yield [self._asking.call("attacker", attempt.id, stage, prompt)]
            text = extract_query(reply.text)
            fault = self._queries.fault_in_conversation(text, attempt, attack, prompt)
            if failed := failure("attacker", reply):
                return replace(outcome, verdict=failed)
            if fault is not None:
                return replace(outcome, verdict=Verdict("rejected", f"follow-up: {fault}"))
            conversation += (_user(text),)
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
