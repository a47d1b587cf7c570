"""One attempt, step by step: queries, answers and verdicts, by its attack's kind of turns.

    first query -> check of its style and topic -> answer(s) -> verdict(s) -> [next query -> ...]
        -> the chosen answer's verdict

`STEPS` at the end has the steps of each kind.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vcjax.adversarial.actor import Actor, AttackedModel
from vcjax.adversarial.attacker import Attacker, Opening
from vcjax.adversarial.attacks.style import Attack, Kind
from vcjax.adversarial.attacks.style_check import QueryCheck
from vcjax.adversarial.calls import ACTOR, ATTACKER, TARGET, Opened, Steps
from vcjax.adversarial.cells import Attempt
from vcjax.adversarial.critic.panel import Candidate, best_verdict
from vcjax.adversarial.reasons import AttemptReason, Origin, QueryReason
from vcjax.adversarial.refinement import Refinement
from vcjax.roles.role import Message
from vcjax.roles.verdict import Verdict


@dataclass(frozen=True)
class EpisodeResult:
    """The end of one attempt, as the ledger records it.

    Attributes:
      source: `attacker`, or `vcjax.adversarial.attacker.STAND_IN`: who wrote the query.
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

    @property
    def opening(self) -> str:
        """The first query of the conversation."""
        return self.conversation[0]["content"] if self.conversation else ""

    def record(self) -> dict[str, Any]:
        """What the ledger stores about the query."""
        return {
            "source": self.source,
            "attacker_fault": self.attacker_fault,
            "query": self.query,
            "style_checked": self.check and self.check.outcome,
            "checked_by": self.check and self.check.by,
        }


class Episodes:
    """Makes the steps of every attempt of a run."""

    def __init__(
        self,
        attacks: Mapping[str, Attack],
        *,
        attacker: Attacker,
        actor: Actor | None,
        target: AttackedModel | None,
        refinement: Refinement,
        only_failures: bool = False,
    ) -> None:
        """Args:
        attacker: writes the queries.
        actor: writes the answers to train on; without one the target's answers are measured.
        target: the model that is attacked, if any: it answers first.
        only_failures: no answer is written where the attack on the target failed.
        """
        self._attacks, self._attacker, self._actor = attacks, attacker, actor
        self._target, self._refinement = target, refinement
        self._only_failures = only_failures

    def steps(self, attempt: Attempt) -> Steps[EpisodeResult]:
        """The steps of one attempt, from its first query to its verdict."""
        attack = self._attacks[attempt.attack]
        return (yield from STEPS[attack.kind](self, attempt, attack))

    def single(self, attempt: Attempt, attack: Attack) -> Steps[EpisodeResult]:
        """One query."""
        opening = yield from self._attacker.first_query(attempt, attack)
        return (yield from self._answered(attempt, attack, opening))

    def pair(self, attempt: Attempt, attack: Attack) -> Steps[EpisodeResult]:
        """One framing of a question; attempts of an odd index ask the one before the other way."""
        if attempt.index % 2:
            opening = yield from self._attacker.second_framing(attempt, attack)
        else:
            opening = yield from self._attacker.first_framing(attempt, attack)
        return (yield from self._answered(attempt, attack, opening))

    def escalation(self, attempt: Attempt, attack: Attack) -> Steps[EpisodeResult]:
        """A conversation that continues from its own answers, as long as they are accepted."""
        opening = yield from self._attacker.first_query(attempt, attack)
        if opening.end is not None:
            return _unasked(opening)
        yield Opened(opening.text)
        opening = yield from self._attacker.checked(attempt, attack, opening)
        conversation: tuple[Message, ...] = (_user(opening.text),)
        for turn in range(attempt.turns - 1):
            result = yield from self._turn(attempt, opening, conversation, turn, last=False)
            # The Actor answers before the last turn only where the attack on the target succeeded.
            succeeded = self._target and any(each.by == ACTOR for each in result.candidates)
            if succeeded or result.verdict.kind != "accepted":
                return result
            conversation += ({"role": "assistant", "content": result.answer or ""},)
            written = yield from self._attacker.follow_up(attempt, attack, conversation, turn + 1)
            if written.failed is not None:
                return replace(result, verdict=written.failed)
            if written.reject_reason is not None:
                end = Verdict("rejected", f"{Origin.FOLLOW_UP}: {written.reject_reason}")
                return replace(result, verdict=end)
            conversation += (_user(written.text),)
        return (yield from self._turn(attempt, opening, conversation, attempt.turns - 1))

    def refinement(self, attempt: Attempt, attack: Attack) -> Steps[EpisodeResult]:
        """A query that is improved by the answers to it, and then asked by itself."""
        opening = yield from self._attacker.first_query(attempt, attack)
        if opening.end is not None:
            return _unasked(opening)
        # What it asks in the end isn't known yet, and no other attempt waits for it.
        yield Opened("")
        refined = yield from self._refinement.refine(attempt, attack, opening.text)
        if refined.query != opening.text:
            # The Attacker's own by now, whatever it was refined from.
            opening = replace(opening, text=refined.query, source=ATTACKER)
        opening = yield from self._attacker.checked(attempt, attack, opening)
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
        yield Opened(opening.text)
        opening = yield from self._attacker.checked(attempt, attack, opening)
        return (yield from self._turn(attempt, opening, (_user(opening.text),), 0))

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


def _user(text: str) -> Message:
    return {"role": "user", "content": text}
