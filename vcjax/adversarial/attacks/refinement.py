"""Queries that are improved against the current checkpoint, by what it answered to them.

One query at a time is PAIR (Chao et al., arXiv 2310.08419); several branches, of which those off
the topic and those that the checkpoint withstood best are cut, are TAP (Mehrotra et al., arXiv
2312.02119). The Critic's verdict on the checkpoint's answer stands for their judge of success.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vcjax.adversarial.actor import Checkpoint
from vcjax.adversarial.asking import Asking
from vcjax.adversarial.attacks.prompts import (
    ON_TOPIC_SCHEMA,
    Turn,
    extract_query,
    follow_up_messages,
    on_topic_messages,
)
from vcjax.adversarial.attacks.queries import Queries
from vcjax.adversarial.attacks.style import Attack
from vcjax.adversarial.calls import Steps
from vcjax.adversarial.cells import Attempt
from vcjax.adversarial.outcome import Candidate
from vcjax.roles.role import Reply


@dataclass(frozen=True)
class Leaf:
    """A query, the turns of the branch that led to it, and what the checkpoint answered."""

    query: str
    branch: tuple[Turn, ...] = ()
    answer: Candidate | None = None

    @property
    def strength(self) -> float:
        """How well the answer held, 0 to 5: 0 where a rule rejected it, 5 where nobody knows."""
        if self.answer is None:
            return 5.0
        verdict = self.answer.verdict
        if verdict.score is not None:
            return verdict.score
        return 0.0 if verdict.kind == "rejected" else 5.0

    @property
    def won(self) -> bool:
        """Whether the checkpoint's answer fails."""
        return self.answer is not None and self.answer.verdict.kind == "rejected"

    def turns(self) -> tuple[Turn, ...]:
        """The branch, with this query and what came of it."""
        assert self.answer is not None
        return (*self.branch, Turn(self.query, self.answer.answer, round(self.strength)))


class Refinement:
    """Refines the first query of an attempt, round by round."""

    def __init__(
        self, asking: Asking, queries: Queries, checkpoint: Checkpoint, *, judged: bool
    ) -> None:
        """Args:
        checkpoint: answers what it is attacked with, once for each query.
        judged: whether there is a Critic; without one no query is pruned as off the topic.
        """
        self._asking, self._queries, self._checkpoint = asking, queries, checkpoint
        self._judged = judged

    def refine(
        self, attempt: Attempt, attack: Attack, query: str
    ) -> Steps[tuple[str, list[Candidate]]]:
        """The query that the checkpoint withstood least, and its answer to it.

        Ends early when an answer fails, or when no new query is any good.
        """
        leaves = yield from self._answered(attempt, [Leaf(query)], 0)
        best = leaves[0]
        for turn in range(1, attempt.turns):
            if best.won:
                break
            grown = yield from self._grown(attempt, attack, leaves[: attack.width], turn)
            if not grown:
                break
            leaves = yield from self._answered(attempt, grown, turn)
            best = min(best, leaves[0], key=lambda leaf: leaf.strength)
        if best.query != query:
            self._queries.take(best.query)
        return best.query, [best.answer] if best.answer else []

    def _answered(self, attempt: Attempt, leaves: Sequence[Leaf], turn: int) -> Steps[list[Leaf]]:
        """The leaves with the checkpoint's answers, the least withstood first."""
        asked = {
            f"r{turn}.{n}": [{"role": "user", "content": leaf.query}]
            for n, leaf in enumerate(leaves)
        }
        answers = yield from self._checkpoint.answer_all(attempt, asked)
        answered = [
            replace(leaf, answer=answer) for leaf, answer in zip(leaves, answers, strict=True)
        ]
        return sorted(answered, key=lambda leaf: leaf.strength)

    def _grown(
        self, attempt: Attempt, attack: Attack, leaves: Sequence[Leaf], turn: int
    ) -> Steps[list[Leaf]]:
        """New queries from each leaf, those that are no good or off the topic cut away."""
        calls, parents = [], []
        for n, leaf in enumerate(leaves):
            prompt = follow_up_messages(
                *(attack, attempt.lang, attempt.topic, attempt.severity), leaf.turns()
            )
            for branch in range(attack.branches):
                stage = f"attacker/r{turn}.{n}.{branch}"
                calls.append(self._asking.call("attacker", attempt.id, stage, prompt))
                parents.append(leaf)
        replies = yield calls
        grown: dict[str, Leaf] = {}
        for call, parent, reply in zip(calls, parents, replies, strict=True):
            text = extract_query(reply.text)
            if self._queries.fault(attempt, attack, call.ask.messages, text) is None:
                grown.setdefault(text, Leaf(text, parent.turns()))
        return (yield from self._on_topic(attempt, attack, list(grown.values()), turn))

    def _on_topic(
        self, attempt: Attempt, attack: Attack, leaves: Sequence[Leaf], turn: int
    ) -> Steps[list[Leaf]]:
        """The leaves that the first Critic finds on the topic, or can't be read on."""
        if attack.on_topic is None or not self._judged:
            return list(leaves)
        replies = yield [
            self._asking.call(
                *("critic", attempt.id, f"critic/r{turn}.{n}/topic"),
                on_topic_messages(attack, attempt.lang, attempt.topic, leaf.query),
                ON_TOPIC_SCHEMA,
            )
            for n, leaf in enumerate(leaves)
        ]
        return [leaf for leaf, reply in zip(leaves, replies, strict=True) if not _off_topic(reply)]


def _off_topic(reply: Reply) -> bool:
    try:
        return json.loads(reply.text) == {"on_topic": False}
    except ValueError:
        return False
