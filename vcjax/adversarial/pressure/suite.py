"""The suite: which probes every arm is asked, by what they measure.

All arms get the same probes, made of what the base model knows; so the denominators are the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vcjax.adversarial.pressure.probes import (
    DIRECTIONS,
    TO_TRUE,
    Probe,
    evidence_probe,
    neutral_probes,
    preamble_probe,
    pressed_probe,
)
from vcjax.adversarial.pressure.split import DEV, TEST, TRAIN, Role, Split
from vcjax.adversarial.pressure.style import PressureStyle
from vcjax.core.seeds import derive_seed
from vcjax.evaluation.facts.fact import Fact
from vcjax.evaluation.facts.knowledge import KNOWN, WRONG, Knowledge
from vcjax.text.language import Language

NEUTRAL, PREAMBLE, EVIDENCE = "neutral", "preamble", "evidence"
WRONG_NEUTRAL, CORRECTION = "wrong_neutral", "correction"
HELD_OUT = "held_out"
STYLES_APART, FACTS_APART, TOPICS_APART = "styles_apart", "facts_apart", "topics_apart"
PRESSED = (HELD_OUT, STYLES_APART, FACTS_APART, TOPICS_APART)
"""Known facts under pressure: facts and styles that are both held out; styles alone (trained
facts), facts alone (trained topics and styles), whole topics alone (trained styles)."""
GROUPS = (*PRESSED, NEUTRAL, PREAMBLE, EVIDENCE, WRONG_NEUTRAL, CORRECTION)


@dataclass(frozen=True)
class Sizes:
    """How much is asked.

    Attributes:
      styles: held-out styles that each held-out fact, and each fact that the base gets wrong, is
        pressed with; drawn for each fact.
      apart: facts of each of the three groups where only one thing is held out, with one style.
      controls: facts of each of the two controls of known facts.
    """

    styles: int
    apart: int
    controls: int


@dataclass(frozen=True)
class Material:
    """What a suite is made of.

    Attributes:
      facts: that have a text in the language.
      knowledge: whether the base model knows each, by id.
      trained, held_out: pressure styles that arms are trained on, and that they aren't.
    """

    facts: Sequence[Fact]
    knowledge: Mapping[str, Knowledge]
    split: Split
    trained: Sequence[PressureStyle]
    held_out: Sequence[PressureStyle]

    def known(self, role: Role, *, topic_held_out: bool = False) -> list[Fact]:
        """Facts with this role that the base model knows."""
        return self._those(KNOWN, role, topic_held_out)

    def wrong(self) -> list[Fact]:
        """Facts that the base model gets wrong; none of them is ever trained on."""
        return [fact for fact in self.facts if self.knowledge[fact.id] == WRONG]

    def _those(self, kind: Knowledge, role: Role, topic_held_out: bool) -> list[Fact]:
        facts = self.split.of(self.facts, role, topic_held_out=topic_held_out)
        return [fact for fact in facts if self.knowledge[fact.id] == kind]


def suite(
    material: Material, lang: Language, sizes: Sizes, *, part: Role, seed: int
) -> dict[str, list[Probe]]:
    """The probes by group, in the order of GROUPS.

    Args:
      part: `test`, or `dev` to tune settings on: then neither a test fact nor a whole held-out
        topic is asked.
    """
    facts = material.known(part)
    topics = material.known(TEST, topic_held_out=True) if part == TEST else []
    measured = [*facts, *topics]
    # Controls are of facts that are pressed as well, so that both are read from the same facts.
    control = _drawn(measured, sizes.controls, seed, "controls")
    wrong = material.wrong()
    if part == DEV:
        wrong = [fact for fact in wrong if material.split.roles[fact.id] == DEV]
    held_out, trained = material.held_out, material.trained

    def pressed(
        facts: Sequence[Fact], styles: Sequence[PressureStyle], each: int
    ) -> Iterator[Probe]:
        for fact, style in _with_styles(facts, styles, each, seed):
            for claimed in DIRECTIONS:
                yield pressed_probe(fact, lang, style, claimed, seed)

    def apart(facts: Sequence[Fact], styles: Sequence[PressureStyle], name: str) -> list[Probe]:
        return list(pressed(_drawn(facts, sizes.apart, seed, name), styles, 1))

    return {
        HELD_OUT: list(pressed(measured, held_out, sizes.styles)),
        STYLES_APART: apart(material.known(TRAIN), held_out, STYLES_APART),
        FACTS_APART: apart(facts, trained, FACTS_APART),
        TOPICS_APART: apart(topics, trained, TOPICS_APART),
        # In the first wording, by which the pressed probes ask as well: so what pressure adds is a
        # difference of probes alike.
        NEUTRAL: [next(neutral_probes(fact, lang, [0])) for fact in measured],
        PREAMBLE: [
            preamble_probe(fact, lang, style, seed)
            for fact, style in _with_styles(control, held_out, 1, seed)
        ],
        EVIDENCE: [evidence_probe(fact, lang, seed) for fact in control],
        WRONG_NEUTRAL: [next(neutral_probes(fact, lang, [0])) for fact in wrong],
        CORRECTION: [
            pressed_probe(fact, lang, style, TO_TRUE, seed)
            for fact, style in _with_styles(wrong, held_out, sizes.styles, seed)
        ],
    }


def _with_styles(
    facts: Sequence[Fact], styles: Sequence[PressureStyle], each: int, seed: int
) -> Iterator[tuple[Fact, PressureStyle]]:
    """Each fact with so many of the styles, drawn for it."""
    for fact in facts:
        drawn = sorted(styles, key=lambda style: derive_seed(seed, "style", fact.id, style.name))
        for style in drawn[:each]:
            yield fact, style


def _drawn(facts: Sequence[Fact], most: int, seed: int, name: str) -> list[Fact]:
    # Those with the smallest hashes: a larger number keeps all that a smaller one has drawn.
    return sorted(facts, key=lambda fact: derive_seed(seed, name, fact.id))[:most]
