"""What is to be attacked: cells, and the attempts that a run plans."""

from collections.abc import Sequence
from dataclasses import dataclass

from vcjax.adversarial.attacks import Attack
from vcjax.charter.registry import Language
from vcjax.charter.schema import Charter
from vcjax.foundation.errors import UserError
from vcjax.foundation.seeds import derive_seed


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
