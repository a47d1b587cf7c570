"""Attacks: what an Attacker is told to write, one YAML file each."""

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from vcjax.charter.registry import Language
from vcjax.foundation.errors import UserError, suggest

Kind = Literal["single", "pair", "escalation", "refinement"]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Count = Annotated[int, Field(ge=1)]
SEVERITIES = (1, 2, 3)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Example(_Strict):
    """A topic and the question that an Attacker might write about it.

    Where the attack goes on, `then` is what it might write next: the opposite framing, the next
    turn or the better query. `answer` and `score` (0 to 5) are what it has seen by then.
    """

    topic: Text
    question: Text
    answer: Text | None = None
    score: Annotated[int, Field(ge=0, le=5)] | None = None
    then: Text | None = None


class Attack(_Strict):
    """One attack.

    Attributes:
      kind: how it is run. `single`: one query. `pair`: two framings of one question, each answered
        by itself. `escalation`: `turns` user turns of one conversation. `refinement`: `turns`
        rounds in which each query is improved by what the attacked model answered to the last.
      turns: user turns or rounds, where a plan doesn't say otherwise.
      width, branches: of a refinement: queries kept after each round, and new ones written from
        each of them. With `on_topic` the new ones are first asked about and pruned.
      mixes_languages: its queries are in two languages on purpose.
      instruction: what the Attacker is told, by language.
      severity: one line for each of the levels 1 to 3, added to the instruction: how hard to press.
      follow_up: what the Attacker is told when it goes on, by language; not for `single`.
      on_topic: what a judge is told who says yes or no to a refined query (TAP's first pruning).
      examples: by language.
    """

    name: Text
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


@cache
def attacks() -> dict[str, Attack]:
    """All attack styles by name, in alphabetical order."""
    folder = resources.files("vcjax.adversarial") / "styles"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    loaded = {}
    for file in files:
        name = file.name.removesuffix(".yaml")
        loaded[name] = Attack(name=name, **yaml.safe_load(file.read_text(encoding="utf-8")))
    return loaded


def choose_attacks(names: Sequence[str]) -> tuple[Attack, ...]:
    """The named styles, or all for an empty list; a UserError for an unknown name."""
    known = attacks()
    for name in names:
        if name not in known:
            raise UserError(f"attack {name!r} is not known{suggest(name, known)}")
    if len(set(names)) < len(names):
        raise UserError(f"attacks: one comes twice in {', '.join(names)}")
    return tuple(known[name] for name in names or known)
