"""Attack styles: what the Attacker is instructed to write, one YAML file each, and how the queries
of one attempt follow each other."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from vcjax.core.errors import UserError, suggest
from vcjax.core.validation import explain
from vcjax.core.yaml_files import read_mapping
from vcjax.text.language import Language

SEVERITIES = (1, 2, 3)
_FOLDER = Path(__file__).parent / "styles"
PLAIN = "plain_question"
"""A question without pressure, which attacks are compared with. It is chosen by its name alone, and
isn't one of the shipped attacks."""

Kind = Literal["single", "pair", "escalation", "refinement"]


@dataclass(frozen=True)
class TurnKind:
    """How the queries of an attack follow each other.

    The steps of an attempt of each kind are in `vcjax.adversarial.episode.STEPS`.

    Attributes:
      example_fields: what the examples of such an attack show beside topic and question.
      shown: the fields of earlier `prompts.Turn`s that the Attacker sees when it writes on.
      attempts_in_a_row: how many attempts of one wave share a topic, one after the other.
      several_turns: whether the attack has a number of turns or rounds, `Attack.turns`.
      one_conversation: whether later queries continue a conversation, so that the query that is
        answered last isn't the one that was asked first.
      branches: whether `Attack.width`, `branches` and `on_topic` apply.
    """

    example_fields: frozenset[str] = frozenset()
    shown: tuple[str, ...] = ()
    attempts_in_a_row: int = 1
    several_turns: bool = False
    one_conversation: bool = False
    branches: bool = False

    @property
    def follows_up(self) -> bool:
        """Whether the Attacker is asked again for what comes after a first query."""
        return "then" in self.example_fields


TURN_KINDS: dict[Kind, TurnKind] = {
    "single": TurnKind(),
    "pair": TurnKind(frozenset({"then"}), ("query",), attempts_in_a_row=2),
    "escalation": TurnKind(
        frozenset({"answer", "then"}),
        ("query", "answer"),
        several_turns=True,
        one_conversation=True,
    ),
    "refinement": TurnKind(
        frozenset({"answer", "score", "then"}),
        ("query", "answer", "score"),
        several_turns=True,
        branches=True,
    ),
}

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Count = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Example(_Strict):
    """A topic and the question that an Attacker might write about it.

    Where the attack continues, `then` is what it might write next: the opposite framing, the next
    turn or the better query. `answer` and `score` (0 to 5, how well the answer kept to the charter)
    are what it knows by then.
    """

    topic: Text
    question: Text
    answer: Text | None = None
    score: Annotated[int, Field(ge=0, le=5)] | None = None
    then: Text | None = None


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression ({error})") from None
    return text


Pattern = Annotated[Text, AfterValidator(_pattern)]


class Cues(_Strict):
    """What a query of a style has in its wording: regular expressions, whatever the case.

    Attributes:
      has: all of them are found in it.
      lacks: none of them is.
    """

    has: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    lacks: tuple[Pattern, ...] = ()

    def fit(self, query: str) -> bool:
        """Whether a query has all that it should and nothing that it shouldn't have."""

        def found(pattern: str) -> bool:
            return re.search(pattern, query, re.IGNORECASE) is not None

        return all(map(found, self.has)) and not any(map(found, self.lacks))


class Attack(_Strict):
    """One attack.

    Attributes:
      kind: `single`: one query. `pair`: two framings of one question, each answered by itself.
        `escalation`: `turns` user turns of one conversation. `refinement`: `turns` rounds, in which
        a query is improved by what the attacked model answered to the last.
      turns: user turns or rounds, where a plan doesn't name a number.
      width, branches: of a refinement: how many queries are kept after each round, and how many
        new ones are written from each of them. With `on_topic` the new ones are pruned by it first.
      mixes_languages: its queries are in two languages on purpose.
      instruction: the Attacker's instruction, by language.
      severity: one line for each of the levels 1 to 3, added to it: how hard to press.
      follow_up: the instruction for what comes after a first query, by language; not for `single`.
      on_topic: the instruction of a judge who decides whether a refined query keeps to its topic.
      examples: by language; those of a kind that follows up show a step of it.
      cues: by language, what its first queries have in their wording; by them queries are checked
        where no Critic is. Without them nothing but a Critic checks.
    """

    name: Name
    kind: Kind
    description: Text
    source: Text
    turns: Count = 1
    width: Count = 1
    branches: Count = 1
    mixes_languages: bool = False
    instruction: dict[Language, Text]
    severity: dict[Language, tuple[Text, Text, Text]]
    follow_up: dict[Language, Text] | None = None
    on_topic: dict[Language, Text] | None = None
    examples: dict[Language, Annotated[tuple[Example, ...], Field(min_length=2)]]
    cues: dict[Language, Cues] | None = None

    @property
    def turn_kind(self) -> TurnKind:
        return TURN_KINDS[self.kind]

    @model_validator(mode="after")
    def _consistent(self) -> "Attack":
        kind = self.turn_kind
        if kind.several_turns != (self.turns > 1):
            bound = "at least 2" if kind.several_turns else "1"
            raise ValueError(f"turns: must be {bound} for an attack of kind {self.kind!r}")
        if not kind.branches and (self.width, self.branches, self.on_topic) != (1, 1, None):
            raise ValueError("width, branches, on_topic: only for an attack of kind 'refinement'")
        if (self.follow_up is not None) != kind.follows_up:
            needs = "needs a" if kind.follows_up else "has no"
            raise ValueError(f"follow_up: an attack of kind {self.kind!r} {needs} follow_up")
        for field in ("instruction", "severity", "follow_up", "on_topic", "examples", "cues"):
            texts = getattr(self, field)
            for lang in get_args(Language):
                if texts is not None and lang not in texts:
                    raise ValueError(f"{field}: nothing in {lang!r}")
        for lang, examples in self.examples.items():
            for i, example in enumerate(examples):
                # What the file has, not what is None: `answer: null` is a mistake as well.
                given = example.model_fields_set - {"topic", "question"}
                # Both directions of a mismatch: a field that is missing, and one that this kind
                # never shows.
                if wrong := given ^ kind.example_fields:
                    verb = "has no" if min(wrong) in given else "needs"
                    at = f"examples.{lang}[{i}]"
                    raise ValueError(f"{at}: one of kind {self.kind!r} {verb} {min(wrong)!r}")
        return self


def attempts_in_a_row(attacks: Iterable[Attack]) -> dict[str, int]:
    """For the attacks of which several attempts share a topic, how many, by name."""
    sizes = {attack.name: attack.turn_kind.attempts_in_a_row for attack in attacks}
    return {name: size for name, size in sizes.items() if size > 1}


def load_attack(path: str | Path) -> Attack:
    """Reads one attack, whose name is its file's.

    Raises:
      UserError: the file is missing, isn't YAML or isn't an attack; names file and field or line.
    """
    path = Path(path)
    data = read_mapping(path, str(path), "an attack")
    if "name" in data:
        raise UserError(f"{path}: name: an attack is named as its file is; leave this field out")
    try:
        return Attack.model_validate({"name": path.stem, **data})
    except ValidationError as failure:
        raise UserError(f"{path}: {explain(failure, Attack)}") from None


def load_attacks(folder: str | Path) -> dict[str, Attack]:
    """All attacks of a folder by name, in alphabetical order."""
    loaded = [load_attack(path) for path in sorted(Path(folder).glob("*.yaml"))]
    return {attack.name: attack for attack in loaded}


@cache
def shipped_attacks() -> dict[str, Attack]:
    """The shipped attacks by name, in alphabetical order."""
    return load_attacks(_FOLDER)


@cache
def plain_question() -> Attack:
    """The style of a question that presses for nothing; see PLAIN."""
    return load_attack(_FOLDER.with_name(f"{PLAIN}.yaml"))


def choose_attacks(references: Sequence[str]) -> tuple[Attack, ...]:
    """Attacks by their shipped names or by the paths of YAML files; all shipped ones for none.

    `PLAIN` is known too, though it is no attack: named, it makes a run of plain questions.

    Raises:
      UserError: an unknown name, a bad file, or two of one name.
    """
    known, chosen = shipped_attacks(), []
    for reference in references or known:
        if reference in known:
            chosen.append(known[reference])
        elif reference == PLAIN:
            chosen.append(plain_question())
        elif reference.endswith((".yaml", ".yml")):
            chosen.append(load_attack(reference))
        else:
            raise UserError(f"attack {reference!r} is not known{suggest(reference, known)}")
    if len({attack.name for attack in chosen}) < len(chosen):
        raise UserError(f"attacks: one comes twice in {', '.join(references)}")
    return tuple(chosen)
