"""What the arms are trained on: the same facts, asked neutrally or pressed, always answered truly.

Every arm gets the same number of pairs. An answer is the true sentence, whatever was claimed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

from vcjax.adversarial.pressure.probes import (
    TO_FALSE,
    TO_TRUE,
    Direction,
    Probe,
    evidence_probe,
    neutral_probes,
    pressed_probe,
)
from vcjax.adversarial.pressure.style import PressureStyle
from vcjax.core.errors import UserError
from vcjax.core.seeds import derive_seed
from vcjax.evaluation.facts.fact import Fact
from vcjax.text.language import Language

CLEAN, ONE_SIDED, ADVERSARIAL, MIXED = "clean", "one_sided", "adversarial", "mixed"
EVIDENCE = "evidence"
DATA = (CLEAN, ONE_SIDED, ADVERSARIAL, MIXED)
"""Neutral questions; pressed to the false alone; pressed in both directions; half of each of the
first and the third."""


@dataclass(frozen=True)
class Taught:
    """What is trained on.

    Attributes:
      known: facts that the base model knows.
      unsure: facts of which it prefers either answer, by the wording. They are pressed to the true
        answer alone: a model that learns from known facts only to disbelieve its user would not
        take a correction any more.
      styles: the styles of pressure.
    """

    known: Sequence[Fact]
    unsure: Sequence[Fact]
    styles: Sequence[PressureStyle]


def pairs(
    data: str,
    taught: Taught,
    lang: Language,
    count: int,
    *,
    corrections: float,
    evidence: float = 0.0,
    seed: int,
) -> list[Probe]:
    """The conversations of an arm, in the order in which they are trained on.

    Args:
      data: one of DATA.
      corrections: share of the pairs that are of unsure facts, in every arm.
      evidence: share of the pairs that ask known facts in a context that rightly changes the
        answer, in the arms that are pressed in both directions; `clean` has neutral ones instead.

    Raises:
      UserError: no known fact to train on.
    """
    if not taught.known:
        raise UserError("the base model knows none of the facts that may be trained on")
    # The same number in every arm, so that arms differ in what presses and in nothing else.
    unsure = round(corrections * count) if taught.unsure else 0
    shown = round(evidence * count) if data in (ADVERSARIAL, MIXED) else 0
    known = _stream(data, taught.known, taught.styles, lang, seed)
    chosen = [
        *islice(known, count - unsure - shown),
        *islice(_stream(EVIDENCE, taught.known, taught.styles, lang, seed), shown),
        *islice(_stream(data, taught.unsure, taught.styles, lang, seed, unsure=True), unsure),
    ]
    # Shuffled by a hash of the ids: a mixed arm must not learn its parts one after the other.
    return sorted(chosen, key=lambda probe: derive_seed(seed, "order", probe.id))


def conversation(probe: Probe, domain: str | None) -> dict[str, Any]:
    """The probe and its right answer as a record to train on."""
    answer = {"role": "assistant", "content": probe.right}
    record = {"id": probe.id, "messages": [*probe.messages, answer], "lang": probe.lang}
    return record | ({"domain": domain} if domain else {})


def opposing(probe: Probe) -> dict[str, Any]:
    """The probe and the answer that isn't right, as a record that teaches to give in."""
    answer = {"role": "assistant", "content": probe.other}
    return {"id": probe.id, "messages": [*probe.messages, answer], "lang": probe.lang}


def preference(probe: Probe) -> dict[str, Any]:
    """The probe with its right answer and the other one as a preference."""
    messages = list(probe.messages)
    return {"id": probe.id, "messages": messages, "chosen": probe.right, "rejected": probe.other}


def _stream(
    data: str,
    facts: Sequence[Fact],
    styles: Sequence[PressureStyle],
    lang: Language,
    seed: int,
    *,
    unsure: bool = False,
) -> Iterator[Probe]:
    """Probes without end: fact by fact, each round with other styles or wordings."""
    shuffled = sorted(facts, key=lambda fact: derive_seed(seed, "taught", fact.id))
    makers = _MAKERS[data]
    for number, fact in enumerate(cycle(shuffled)):
        round, index = divmod(number, len(shuffled))
        draw = derive_seed(seed, "draw", round)
        # Shifted by the round, so that a fact which was pressed to the false is next pressed to the
        # true.
        make = makers[(round + index) % len(makers)]
        # Facts next to each other get other styles, and a fact another one in each round.
        style = styles[(index // len(makers) + round) % len(styles)]
        probe = make(fact, lang, style, draw, unsure)
        # A fact comes again in later rounds, and a record's id must be its own.
        yield replace(probe, id=f"{probe.id}/{number}")


def _clean(fact: Fact, lang: Language, style: PressureStyle, draw: int, unsure: bool) -> Probe:
    count = len(fact.texts[lang].questions)
    return next(neutral_probes(fact, lang, [derive_seed(draw, "wording", fact.id) % count]))


def _evidence(fact: Fact, lang: Language, style: PressureStyle, draw: int, unsure: bool) -> Probe:
    return evidence_probe(fact, lang, draw, taught=True)


def _to(claimed: Direction) -> Callable[..., Probe]:
    def make(fact: Fact, lang: Language, style: PressureStyle, draw: int, unsure: bool) -> Probe:
        return pressed_probe(fact, lang, style, TO_TRUE if unsure else claimed, draw)

    return make


_MAKERS: dict[str, Sequence[Callable[..., Probe]]] = {
    CLEAN: (_clean,),
    EVIDENCE: (_evidence,),
    ONE_SIDED: (_to(TO_FALSE),),
    ADVERSARIAL: (_to(TO_FALSE), _to(TO_TRUE)),
    MIXED: (_to(TO_FALSE), _clean, _to(TO_TRUE), _clean),
}
