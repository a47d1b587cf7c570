"""What is to be attacked: attack styles, cells, and the attempts that a run plans."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml
from pydantic import BaseModel, ConfigDict

from vcjax.charter.registry import Language
from vcjax.charter.schema import Charter
from vcjax.foundation.errors import UserError, suggest
from vcjax.foundation.seeds import derive_seed


class Example(BaseModel):
    """A topic and the question that an Attacker might write about it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    topic: str
    question: str


class Attack(BaseModel):
    """A style of attack: one YAML file in `styles/`, named as the style is."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    description: str
    source: str
    instruction: dict[str, str]
    examples: dict[str, tuple[Example, ...]]


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


@dataclass(frozen=True)
class Attempt:
    """One planned attempt; `number` counts from 0 and orders every decision."""

    number: int
    id: str
    subdomain: str
    attack: str
    lang: Language
    topic: str


def plan(
    charter: Charter, styles: Sequence[Attack], languages: Sequence[Language], count: int, seed: int
) -> list[Attempt]:
    """Plans `count` attempts that go round the cells evenly; held-out subdomains are left out.

    Attempt n is a pure function of the arguments but `count`: a longer run begins with the same
    attempts.

    Raises:
      UserError: there is nothing to attack.
    """
    subdomains = charter.subdomains(include_held_out=False)
    if not subdomains or not languages:
        raise UserError(f"charter {charter.name!r}: nothing to attack")
    attempts = []
    for number in range(count):
        turn, lang = number // len(languages), languages[number % len(languages)]
        cycle, place = divmod(turn, len(subdomains))
        subdomain, attack = subdomains[place], styles[(place + cycle) % len(styles)]
        id = f"{subdomain.id}.{attack.name}.{lang}.{cycle // len(styles)}"
        topics = subdomain.topics.get(lang)
        topic = topics[derive_seed(seed, id, "topic") % len(topics)]
        attempts.append(Attempt(number, id, subdomain.id, attack.name, lang, topic))
    return attempts
