"""Which facts teach, which tune and which measure: by fact, by whole topics, and by style.

The role of a fact depends on its id, its topic and the seed alone, so that it is the same in every
language and in every arm, and stays the same when facts are added.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vcjax.core.errors import UserError, suggest
from vcjax.core.seeds import derive_seed
from vcjax.evaluation.facts.fact import Fact

Role = Literal["train", "dev", "test"]
TRAIN: Role = "train"
DEV: Role = "dev"
TEST: Role = "test"
_SHARES: tuple[tuple[Role, float], ...] = ((TRAIN, 0.5), (DEV, 0.2), (TEST, 0.3))
"""Shares of the facts whose topic is trained on."""
_HELD_OUT_SHARE = 0.3
"""Share of the topics that is held out, where the config names none."""


@dataclass(frozen=True)
class Split:
    """The roles of facts.

    Attributes:
      roles: by fact id.
      held_out_topics: topics no fact of which is trained or tuned on.
    """

    roles: Mapping[str, Role]
    held_out_topics: frozenset[str]

    def of(self, facts: Iterable[Fact], role: Role, *, topic_held_out: bool) -> list[Fact]:
        """The facts with this role whose topic is, or isn't, held out."""
        return [
            fact
            for fact in facts
            if self.roles[fact.id] == role
            and (fact.topic in self.held_out_topics) == topic_held_out
        ]


def split_facts(facts: Sequence[Fact], held_out_topics: Sequence[str], seed: int) -> Split:
    """Gives every fact its role.

    Args:
      held_out_topics: names of topics; empty draws three in ten, as many of the topics with a
        sensitive domain as of the others.

    Raises:
      UserError: a topic that no fact has, or none is left to train on.
    """
    topics: dict[str, bool] = {}
    for fact in facts:
        # A topic is sensitive if any of its facts has a domain; whole topics are drawn, never parts
        # of one.
        topics[fact.topic] = topics.get(fact.topic, False) or fact.domain is not None
    for topic in held_out_topics:
        if topic not in topics:
            raise UserError(
                f"config.held_out_topics: no fact is of topic {topic!r}{suggest(topic, topics)}"
            )
    held_out = frozenset(held_out_topics or _drawn_topics(topics, seed))
    if not topics.keys() - held_out:
        raise UserError("config.held_out_topics: no topic is left to train on")
    roles: dict[str, Role] = {}
    for fact in facts:
        roles[fact.id] = TEST if fact.topic in held_out else _role(fact, seed)
    return Split(roles, held_out)


def _drawn_topics(topics: Mapping[str, bool], seed: int) -> list[str]:
    drawn: list[str] = []
    for sensitive in (False, True):
        names = [name for name, own in topics.items() if own == sensitive]
        shuffled = sorted(names, key=lambda name: derive_seed(seed, "topic", name))
        drawn += shuffled[: round(_HELD_OUT_SHARE * len(names))]
    return drawn


def _role(fact: Fact, seed: int) -> Role:
    # By the fact itself and no shuffled list: a fact that is added later moves no other to another
    # side.
    # Seeds are below 2**31, so that this is a number from 0 to 1.
    drawn = derive_seed(seed, "split", fact.id) / 2**31
    for role, share in _SHARES:
        if drawn < share:
            return role
        drawn -= share
    return TEST
