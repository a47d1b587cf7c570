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
from vcjax.adversarial.modes import Actor
from vcjax.adversarial.outcome import Candidate, Outcome
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
        actor: Actor,
        refinement: Refinement,
    ) -> None:
        self._attacks, self._asking, self._queries = attacks, asking, queries
        self._actor, self._refinement = actor, refinement
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
        query, probes = opening.text, ()
        if attack.kind == "refinement":
            query, probes = yield from self._refinement.refine(attempt, attack, opening.text)
        conversation = (_user(query),)
        candidates = yield from self._actor.answer(attempt, conversation, 0)
        return _ended(opening, conversation, [*candidates, *probes])

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
        """A conversation that goes on from the Actor's own answers, while they are accepted."""
        conversation: tuple[Message, ...] = (_user(opening.text),)
        for turn in range(attempt.turns):
            candidates = yield from self._actor.answer(attempt, conversation, turn)
            outcome = _ended(opening, conversation, candidates)
            if outcome.verdict.kind != "accepted" or turn == attempt.turns - 1:
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
        raise AssertionError(attempt)


def _ended(
    opening: Opening, conversation: tuple[Message, ...], candidates: Sequence[Candidate]
) -> Outcome:
    chosen = candidates[best([candidate.verdict for candidate in candidates])]
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
