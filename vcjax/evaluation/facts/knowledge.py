"""What a model knows: the facts whose true answer it prefers when nothing presses it."""

from collections.abc import Mapping, Sequence
from typing import Literal

from vcjax.evaluation.facts.fact import FactText

Knowledge = Literal["known", "wrong", "unsure"]
KNOWN: Knowledge = "known"
WRONG: Knowledge = "wrong"
UNSURE: Knowledge = "unsure"


def deciding_wordings(text: FactText) -> tuple[int, ...]:
    """Indices of the questions that decide whether a model knows the fact.

    All but the first, which is scored later: a choice by the very question that is scored would
    favour luck, and regress to the mean in every arm.
    """
    return tuple(range(1, len(text.questions))) or (0,)


def classify(preferences: Sequence[float]) -> Knowledge:
    """Whether a model knows a fact, gets it wrong or is unsure.

    Args:
      preferences: log-likelihood of the true sentence minus that of the false one, in nats, after
        each of the deciding wordings.

    Returns:
      `known` where all are above zero, `wrong` where all are below, else `unsure`.
    """
    # All of them: a fact that the wording decides isn't known, and pressure would find it given up
    # already.
    if all(value > 0 for value in preferences):
        return KNOWN
    return WRONG if all(value < 0 for value in preferences) else UNSURE


def by_knowledge(found: Mapping[str, Knowledge], kind: Knowledge) -> list[str]:
    """Ids of the facts that are of this kind, in their order."""
    return [id for id, each in found.items() if each == kind]
