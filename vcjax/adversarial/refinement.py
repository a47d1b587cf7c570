"""Queries that are improved against the attacked model, by what it answered to them.

One query at a time is PAIR (Chao et al., arXiv 2310.08419); several branches, of which those off
the topic and those with the strongest answers are cut, are TAP (Mehrotra et al., arXiv 2312.02119).
The Critic's verdict on the model's answer takes the place of their judge of success.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vcjax.adversarial.actor import AttackedModel
from vcjax.adversarial.attacks.prompts import (
    ON_TOPIC_SCHEMA,
    QUERY_SCHEMA,
    Turn,
    follow_up_messages,
    on_topic_messages,
    read_query,
)
from vcjax.adversarial.attacks.queries import Queries
from vcjax.adversarial.attacks.style import Attack
from vcjax.adversarial.calls import ATTACKER, CRITIC, CallBuilder, Steps, failed_call
from vcjax.adversarial.cells import Attempt
from vcjax.adversarial.critic.panel import Candidate
from vcjax.roles.role import Reply
from vcjax.roles.verdict import Verdict


@dataclass(frozen=True)
class Leaf:
    """A query, the turns of the branch that led to it, and the attacked model's answer."""

    query: str
    branch: tuple[Turn, ...] = ()
    answer: Candidate | None = None

    @property
    def strength(self) -> float:
        """How well the answer keeps to the charter, 0 to 5: 0 where a rule rejected it, 5 where
        nobody knows."""
        if self.answer is None:
            return 5.0
        verdict = self.answer.verdict
        if verdict.score is not None:
            return verdict.score
        return 0.0 if verdict.kind == "rejected" else 5.0

    @property
    def succeeded(self) -> bool:
        """Whether the attacked model's answer was rejected."""
        return self.answer is not None and self.answer.verdict.kind == "rejected"

    def turns(self) -> tuple[Turn, ...]:
        """The branch, with this query, its answer and that answer's score."""
        assert self.answer is not None
        return (*self.branch, Turn(self.query, self.answer.answer, round(self.strength)))


@dataclass(frozen=True)
class Refined:
    """The end of a refinement.

    Attributes:
      answers: the attacked model's answer to the query.
      failed: why the Attacker could not be asked any further, where that ended it.
    """

    query: str
    answers: tuple[Candidate, ...]
    failed: Verdict | None = None


class Refinement:
    """Refines the first query of an attempt, round by round, whatever other attempts do: whether
    one of them asks the same is found when they are decided."""

    def __init__(
        self, calls: CallBuilder, queries: Queries, model: AttackedModel, *, judged: bool
    ) -> None:
        """Args:
        model: answers each query once.
        judged: whether there is a Critic; without one no query is pruned as off the topic.
        """
        self._calls, self._queries, self._model = calls, queries, model
        self._judged = judged

    def refine(self, attempt: Attempt, attack: Attack, query: str) -> Steps[Refined]:
        """The query with the weakest answer, and that answer.

        Ends early when an answer is rejected, or when no new query can be asked.
        """
        known = self._queries.known
        failed: Verdict | None = None
        leaves = yield from self._answered(attempt, [Leaf(query)], 0)
        # Over all rounds: the answers to a later round's queries may be stronger again.
        best = leaves[0]
        for turn in range(1, attempt.turns):
            if best.succeeded:
                break
            asked = leaves[: attack.width]
            grown, failed = yield from self._grown(attempt, attack, asked, turn, known)
            if not grown:
                break
            leaves = yield from self._answered(attempt, grown, turn)
            best = min(best, leaves[0], key=lambda leaf: leaf.strength)
        return Refined(best.query, (best.answer,) if best.answer else (), failed)

    def _answered(self, attempt: Attempt, leaves: Sequence[Leaf], turn: int) -> Steps[list[Leaf]]:
        """The leaves with the attacked model's answers, the weakest answer first."""
        conversations = {
            f"r{turn}.{n}": [{"role": "user", "content": leaf.query}]
            for n, leaf in enumerate(leaves)
        }
        answers = yield from self._model.answer_all(attempt, conversations)
        answered = [
            replace(leaf, answer=answer) for leaf, answer in zip(leaves, answers, strict=True)
        ]
        # A stable sort: of equal answers the one to the earlier query comes first.
        return sorted(answered, key=lambda leaf: leaf.strength)

    def _grown(
        self, attempt: Attempt, attack: Attack, leaves: Sequence[Leaf], turn: int, known: int
    ) -> Steps[tuple[list[Leaf], Verdict | None]]:
        """New queries from each leaf, without those that are rejected or off the topic.

        Args:
          known: see `Queries.refined_reject_reason`.

        Returns with them why the Attacker has written nothing, where all of its calls failed.
        """
        calls, parents = [], []
        for n, leaf in enumerate(leaves):
            prompt = follow_up_messages(
                attack, attempt.lang, attempt.topic, attempt.severity, leaf.turns()
            )
            for branch in range(attack.branches):
                stage = f"{ATTACKER}/r{turn}.{n}.{branch}"
                calls.append(self._calls.build(ATTACKER, attempt.id, stage, prompt, QUERY_SCHEMA))
                parents.append(leaf)
        replies = yield calls
        grown: dict[str, Leaf] = {}
        for call, parent, reply in zip(calls, parents, replies, strict=True):
            text, unreadable = read_query(reply)
            reason = unreadable or self._queries.refined_reject_reason(
                attack, attempt.lang, call.ask.messages, text, known
            )
            if reason is None:
                # Two branches may write the same query, which is answered once.
                grown.setdefault(text, Leaf(text, parent.turns()))
        fitting = yield from self._on_topic(attempt, attack, list(grown.values()), turn)
        failures = [failed_call(ATTACKER, reply) for reply in replies]
        return fitting, failures[0] if all(failures) else None

    def _on_topic(
        self, attempt: Attempt, attack: Attack, leaves: Sequence[Leaf], turn: int
    ) -> Steps[list[Leaf]]:
        """The leaves that the first Critic finds on the topic, or whose verdict can't be read."""
        if attack.on_topic is None or not self._judged:
            return list(leaves)
        replies = yield [
            self._calls.build(
                CRITIC,
                attempt.id,
                f"{CRITIC}/r{turn}.{n}/topic",
                on_topic_messages(attack, attempt.lang, attempt.topic, leaf.query),
                ON_TOPIC_SCHEMA,
            )
            for n, leaf in enumerate(leaves)
        ]
        return [leaf for leaf, reply in zip(leaves, replies, strict=True) if not _off_topic(reply)]


def _off_topic(reply: Reply) -> bool:
    # Only a plain no cuts a query: a Critic that can't write JSON would cut all of them.
    try:
        return json.loads(reply.text) == {"on_topic": False}
    except ValueError:
        return False
