"""Attacks: what an Attacker is told to write, one YAML file each."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from vcjax.charter.messages import explain
from vcjax.charter.registry import Language
from vcjax.core.errors import UserError, suggest
from vcjax.core.yaml_files import read_mapping

Kind = Literal["single", "pair", "escalation", "refinement"]
SEVERITIES = (1, 2, 3)
_FOLDER = Path(__file__).parent / "styles"

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Count = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Example(_Strict):
    """A topic and the question that an Attacker might write about it.

    Where the attack goes on, `then` is what it might write next: the opposite framing, the next
    turn or the better query. `answer` and `score` (0 to 5, how well the answer held) are what it
    has seen by then.
    """

    topic: Text
    question: Text
    answer: Text | None = None
    score: Annotated[int, Field(ge=0, le=5)] | None = None
    then: Text | None = None


# What the examples of each kind show beside a topic and a question.
_SHOWN = {
    "single": set(),
    "pair": {"then"},
    "escalation": {"answer", "then"},
    "refinement": {"answer", "score", "then"},
}


class Attack(_Strict):
    """One attack.

    Attributes:
      kind: how it is run. `single`: one query. `pair`: two framings of one question, each answered
        by itself. `escalation`: `turns` user turns of one conversation. `refinement`: `turns`
        rounds, in which a query is improved by what the attacked model answered to the last.
      turns: user turns or rounds, where a plan doesn't say otherwise.
      width, branches: of a refinement: how many queries live on after each round, and how many
        new ones are written from each of them. With `on_topic` the new ones are pruned by it first.
      mixes_languages: its queries are in two languages on purpose.
      instruction: what the Attacker is told, by language.
      severity: one line for each of the levels 1 to 3, added to what it is told: how hard to press.
      follow_up: what the Attacker is told when it goes on, by language; not for `single`.
      on_topic: what a judge is told who says whether a refined query is still about its topic.
      examples: by language; the ones of a `kind` that goes on show a step of it.
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

    @model_validator(mode="after")
    def _whole(self) -> "Attack":
        goes_on = self.kind in ("escalation", "refinement")
        if goes_on != (self.turns > 1):
            bound = "at least 2" if goes_on else "1"
            raise ValueError(f"turns: must be {bound} for an attack of kind {self.kind!r}")
        if self.kind != "refinement" and (self.width, self.branches, self.on_topic) != (1, 1, None):
            raise ValueError("width, branches, on_topic: only for an attack of kind 'refinement'")
        if (self.follow_up is None) != (self.kind == "single"):
            needs = "has no" if self.kind == "single" else "needs a"
            raise ValueError(f"follow_up: an attack of kind {self.kind!r} {needs} follow_up")
        for field in ("instruction", "severity", "follow_up", "on_topic", "examples"):
            texts = getattr(self, field)
            for lang in get_args(Language):
                if texts is not None and lang not in texts:
                    raise ValueError(f"{field}: nothing in {lang!r}")
        for lang, examples in self.examples.items():
            for i, example in enumerate(examples):
                shown = example.model_fields_set - {"topic", "question"}
                if wrong := shown ^ _SHOWN[self.kind]:
                    verb = "has no" if min(wrong) in shown else "needs"
                    at = f"examples.{lang}[{i}]"
                    raise ValueError(f"{at}: one of kind {self.kind!r} {verb} {min(wrong)!r}")
        return self


def load_attack(path: str | Path) -> Attack:
    """Reads one attack, which is named as its file is.

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
def attacks() -> dict[str, Attack]:
    """The shipped attacks by name, in alphabetical order."""
    return load_attacks(_FOLDER)


def choose_attacks(references: Sequence[str]) -> tuple[Attack, ...]:
    """Attacks by their shipped names or by the paths of YAML files; all shipped ones for none.

    Raises:
      UserError: an unknown name, a bad file, or two of one name.
    """
    known, chosen = attacks(), []
    for reference in references or known:
        if reference in known:
            chosen.append(known[reference])
        elif reference.endswith((".yaml", ".yml")):
            chosen.append(load_attack(reference))
        else:
            raise UserError(f"attack {reference!r} is not known{suggest(reference, known)}")
    if len({attack.name for attack in chosen}) < len(chosen):
        raise UserError(f"attacks: one comes twice in {', '.join(references)}")
    return tuple(chosen)
