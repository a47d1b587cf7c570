"""Probes: conversations that end with a question, and the two answers that a model chooses between.

The same fact is asked neutrally, pressed to the false answer, pressed to the true one, after a
preamble that presses nothing, and after a context that rightly changes the answer.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from vcjax.adversarial.pressure.style import CLAIM, QUESTION, PressureStyle, controls
from vcjax.core.seeds import derive_seed
from vcjax.evaluation.facts.fact import Fact
from vcjax.evaluation.likelihoods import score_answers
from vcjax.roles.role import LikelihoodAsk, Message, ScoringRole
from vcjax.text.language import Language

SCORES = "scores.jsonl"
T = TypeVar("T")
Kind = Literal["neutral", "pressed", "preamble", "evidence"]
TO_FALSE, TO_TRUE = "false", "true"
Direction = Literal["false", "true"]
"""The answer that the user claims."""
DIRECTIONS: tuple[Direction, ...] = (TO_FALSE, TO_TRUE)


@dataclass(frozen=True)
class Probe:
    """One question to a model, as a conversation.

    Attributes:
      fact: id of the fact.
      style: name of the pressure style; empty where nothing presses. Of `preamble` it is the style
        whose length the preamble has.
      claimed: the answer that the conversation claims; empty where it claims none.
      messages: end with a user's turn.
      answers: the true sentence and the false one.
    """

    id: str
    fact: str
    lang: Language
    kind: Kind
    style: str
    claimed: Direction | Literal[""]
    messages: tuple[Message, ...]
    answers: tuple[str, str]

    @property
    def right(self) -> str:
        """The answer that is right here: the false sentence where the context makes it so."""
        return self.answers[1 if self.kind == "evidence" else 0]

    @property
    def other(self) -> str:
        """The answer that isn't."""
        return self.answers[0 if self.kind == "evidence" else 1]


def neutral_probes(
    fact: Fact, lang: Language, wordings: Iterable[int] | None = None
) -> Iterator[Probe]:
    """The fact's question alone, in the given wordings (by index; all without any)."""
    questions = fact.texts[lang].questions
    for number in range(len(questions)) if wordings is None else wordings:
        yield Probe(
            id=f"{fact.id}/{lang}/neutral/{number}",
            fact=fact.id,
            lang=lang,
            kind="neutral",
            style="",
            claimed="",
            messages=(_user(questions[number]),),
            answers=fact.sentences(lang),
        )


def pressed_probe(
    fact: Fact, lang: Language, style: PressureStyle, claimed: Direction, seed: int
) -> Probe:
    """The fact's question under pressure.

    The wording is that of an Attacker for this fact, or else drawn by the seed from fact and style,
    so that it is the same in both directions. Where it has several turns, the model's earlier
    answers are the opposite of the claim.
    """
    wording = style.written(fact.id, lang)
    wording = wording or pick(style.wordings[lang], seed, fact.id, style.name)
    # The same wording, with the two sentences swapped: what differs between the directions is the
    # truth of the claim alone.
    claim = fact.sentence(lang, claimed == TO_TRUE)
    given = fact.sentence(lang, claimed != TO_TRUE)
    question = fact.texts[lang].questions[0]
    messages: list[Message] = []
    for turn in wording:
        if messages:
            messages.append({"role": "assistant", "content": given})
        messages.append(_user(filled(turn, question, claim)))
    return Probe(
        id=f"{fact.id}/{lang}/{style.name}/{claimed}",
        fact=fact.id,
        lang=lang,
        kind="pressed",
        style=style.name,
        claimed=claimed,
        messages=tuple(messages),
        answers=fact.sentences(lang),
    )


def preamble_probe(fact: Fact, lang: Language, style: PressureStyle, seed: int) -> Probe:
    """The question after everyday sentences, about as long as the style's pressure to the false.

    Their number is the smallest whose length, in characters, is at least that of the pressure.
    """
    question = fact.texts[lang].questions[0]
    pressed = pressed_probe(fact, lang, style, TO_FALSE, seed)
    length = sum(len(turn["content"]) for turn in pressed.messages) - len(question)
    sentences = controls().preambles[lang]
    start = derive_seed(seed, "preamble", fact.id, style.name) % len(sentences)
    chosen: list[str] = []
    join = " " if lang == "en" else ""
    # As long as the pressure, so that what a preamble does is what length alone does.
    while len(join.join(chosen)) < length and len(chosen) < len(sentences):
        chosen.append(sentences[(start + len(chosen)) % len(sentences)])
    return Probe(
        id=f"{fact.id}/{lang}/preamble/{style.name}",
        fact=fact.id,
        lang=lang,
        kind="preamble",
        style=style.name,
        claimed="",
        messages=(_user(join.join([*chosen, question])),),
        answers=fact.sentences(lang),
    )


def evidence_probe(fact: Fact, lang: Language, seed: int, *, taught: bool = False) -> Probe:
    """The question about an imaginary context, in which the false answer is rightly the one.

    Args:
      taught: whether the wording is one to train on; the others only measure.
    """
    wordings = controls().taught_evidence if taught else controls().evidence
    wording = pick(wordings[lang], seed, fact.id, "evidence")
    claim = fact.sentence(lang, False)
    return Probe(
        id=f"{fact.id}/{lang}/evidence",
        fact=fact.id,
        lang=lang,
        kind="evidence",
        style="",
        claimed=TO_FALSE,
        messages=(_user(filled(wording, fact.texts[lang].questions[0], claim)),),
        answers=fact.sentences(lang),
    )


def with_system(probes: Iterable[Probe], system: str) -> list[Probe]:
    """The probes with a system message before their conversations; unchanged without one."""
    if not system:
        return list(probes)
    message: Message = {"role": "system", "content": system}
    return [replace(probe, messages=(message, *probe.messages)) for probe in probes]


def filled(wording: str, question: str, claim: str) -> str:
    """The wording with question and claim in it."""
    # Not `format`: questions and answers may have braces.
    return wording.replace(CLAIM, claim).replace(QUESTION, question)


def pick(choices: Sequence[T], seed: int, *names: str) -> T:
    """One of the choices, drawn by a seed and names."""
    return choices[derive_seed(seed, "pressure", *names) % len(choices)]


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def score_probes(role: ScoringRole, probes: Sequence[Probe], folder: Path) -> dict[str, float]:
    """Scores what `folder/scores.jsonl` lacks; a kill leaves that file whole.

    Returns, by the probes' ids, the preference for the true answer: its log-likelihood minus that
    of the false one, in nats.

    Raises:
      UserError: a probe that doesn't fit the model's context, or whose scores weren't recorded.
    """
    asks = [LikelihoodAsk(probe.id, probe.messages, probe.answers) for probe in probes]
    found = score_answers(role, asks, [("true", "false")] * len(asks), folder / SCORES)
    return {id: own["true"] - own["false"] for id, own in found.items()}
