"""What is to be attacked: the cells of a charter, and the attempts that a run makes in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from vcjax.adversarial.attacks.style import Attack
from vcjax.charter.registry import Language
from vcjax.charter.schema import Charter, Subdomain
from vcjax.core.errors import UserError


@dataclass(frozen=True, order=True)
class Cell:
    """One place in the matrix of subdomain x attack x language x severity x turns."""

    subdomain: str
    attack: str
    lang: Language
    severity: int
    turns: int

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """The cell of a record that has its fields."""
        return cls(*(record[field.name] for field in fields(cls)))

    @property
    def id(self) -> str:
        return f"{self.subdomain}.{self.attack}.{self.lang}.s{self.severity}.t{self.turns}"


@dataclass(frozen=True)
class Attempt:
    """One planned attempt.

    Attributes:
      number: counts from 0 and orders every decision.
      wave: it was planned from what the waves before it came to.
      subdomain, attack, lang, severity, turns: its cell.
      index: counts the attempts of its cell, from 0.
      topic: what its queries are about.
    """

    number: int
    wave: int
    subdomain: str
    attack: str
    lang: Language
    severity: int
    turns: int
    index: int
    topic: str

    @property
    def cell(self) -> Cell:
        return Cell(self.subdomain, self.attack, self.lang, self.severity, self.turns)

    @property
    def id(self) -> str:
        return f"{self.cell.id}.{self.index}"


def cells(
    charter: Charter,
    subdomains: Sequence[Subdomain],
    attacks: Sequence[Attack],
    languages: Sequence[Language],
    severities: Sequence[int],
    turns: Sequence[int] = (),
) -> tuple[Cell, ...]:
    """The cells in the order in which they are attacked.

    Any first part of the order spreads over subdomains, attacks and languages as evenly as it can.

    Args:
      turns: of the attacks that go on after a first query; empty leaves each its own number.

    Raises:
      UserError: there is nothing to attack.
    """
    variants = [
        (attack.name, severity, count)
        for severity in severities
        for attack in attacks
        for count in _turns(attack, turns)
    ]
    if not subdomains or not languages or not variants:
        raise UserError(f"charter {charter.name!r}: nothing to attack")
    return tuple(
        Cell(subdomain.id, attack, lang, severity, count)
        for cycle in range(len(variants))
        for place, subdomain in enumerate(subdomains)
        for attack, severity, count in [variants[(place + cycle) % len(variants)]]
        for lang in languages
    )


def _turns(attack: Attack, turns: Sequence[int]) -> Sequence[int]:
    goes_on = attack.kind in ("escalation", "refinement")
    return turns or (attack.turns,) if goes_on else (1,)
