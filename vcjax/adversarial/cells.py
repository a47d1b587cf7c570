"""What a run attacks: the cells of a charter, the attempts in them, and the part of one process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self, TypeVar

from vcjax.adversarial.attacks.style import Attack
from vcjax.charter.parts import Subdomain
from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError
from vcjax.text.language import Language

T = TypeVar("T")

HELD_OUT_GROUPS = ("attacks", "topics", "both")
"""What is held out: the attack, on trained topics; the topic, from trained attacks; or both."""


@dataclass(frozen=True, order=True)
class Cell:
    """One combination of subdomain x attack x language x severity x turns."""

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
      wave: it was planned from the results of the waves before it.
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


@dataclass(frozen=True)
class CellGroup:
    """Cells that are attacked together.

    `held_out_topics` is whether their topics are those that are kept out of training.
    """

    cells: tuple[Cell, ...]
    held_out_topics: bool = False


@dataclass(frozen=True)
class AttackSuite:
    """What a run may attack.

    Attributes:
      attacks, held_out_attacks: those that are trained on, and those that only measure.
      subdomains: that are trained on.
      turns: of the attacks that have several; empty leaves each its own number.
    """

    charter: Charter
    attacks: tuple[Attack, ...]
    held_out_attacks: tuple[Attack, ...]
    subdomains: tuple[Subdomain, ...]
    languages: tuple[Language, ...]
    severities: tuple[int, ...]
    turns: tuple[int, ...] = ()

    @property
    def attacks_by_name(self) -> dict[str, Attack]:
        """Both those that are trained on and the held-out ones."""
        return {attack.name: attack for attack in (*self.attacks, *self.held_out_attacks)}

    def cells(self) -> tuple[Cell, ...]:
        """The cells whose attempts are trained on."""
        return self._cells(self.subdomains, self.attacks)

    def held_out(self) -> dict[str, CellGroup]:
        """The cells that only measure, for those of `HELD_OUT_GROUPS` that have any."""
        held_out = [
            subdomain
            for subdomain in self.charter.subdomains()
            if all(subdomain.topics_for(lang, held_out=True) for lang in self.languages)
        ]
        chosen = {
            "attacks": (self.subdomains, self.held_out_attacks),
            "topics": (held_out, self.attacks),
            "both": (held_out, self.held_out_attacks),
        }
        return {
            group: CellGroup(self._cells(subdomains, attacks), held_out_topics=group != "attacks")
            for group, (subdomains, attacks) in chosen.items()
            if subdomains and attacks
        }

    def _cells(
        self, subdomains: Sequence[Subdomain], attacks: Sequence[Attack]
    ) -> tuple[Cell, ...]:
        """The cells in the order in which they are attacked.

        Any prefix of the order spreads over subdomains, attacks and languages as evenly as it can.

        Raises:
          UserError: there is nothing to attack.
        """
        variants = [
            (attack.name, severity, count)
            for severity in self.severities
            for attack in attacks
            for count in self._turns(attack)
        ]
        if not subdomains or not self.languages or not variants:
            raise UserError(f"charter {self.charter.name!r}: nothing to attack")
        cells = []
        for cycle in range(len(variants)):
            for index, subdomain in enumerate(subdomains):
                # Each subdomain begins with another variant, so that a cycle has many of them.
                attack, severity, count = variants[(index + cycle) % len(variants)]
                cells += [
                    Cell(subdomain.id, attack, lang, severity, count) for lang in self.languages
                ]
        return tuple(cells)

    def _turns(self, attack: Attack) -> Sequence[int]:
        return self.turns or (attack.turns,) if attack.turn_kind.several_turns else (1,)


@dataclass(frozen=True)
class Shard:
    """Part `index`, from 0, of `count`: one plan for several processes or hosts.

    Each attacks other cells and writes another ledger. `launch.ledger merge` joins the ledgers, and
    the same run without a shard continues from there: it makes what is missing and writes the
    outputs of all.
    """

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Reads `1/4`, the first of four; an empty text is the whole.

        Raises:
          UserError: it is neither.
        """
        if not text:
            return cls()
        first, slash, second = text.partition("/")
        numbers = first.isdecimal() and second.isdecimal()
        if not slash or not numbers or not 1 <= int(first) <= int(second):
            raise UserError(f"config.shard: write N/COUNT, such as 1/4, not {text!r}")
        return cls(int(first) - 1, int(second))

    def cells(self, cells: Sequence[Cell]) -> tuple[Cell, ...]:
        """The shard's cells; the languages of one subdomain and attack stay together."""
        families = dict.fromkeys(map(_without_language, cells))
        if self.count > len(families):
            raise UserError(
                f"config.shard: {len(families)} pairs of subdomain and attack aren't enough for "
                f"{self.count} shards"
            )
        own = set(self.part(list(families)))
        return tuple(cell for cell in cells if _without_language(cell) in own)

    def part(self, items: Sequence[T]) -> Sequence[T]:
        """Every `count`-th of them."""
        return items[self.index :: self.count]

    def share(self, attempts: int) -> int:
        """The shard's number of attempts, of `attempts` in all."""
        return len(self.part(range(attempts)))


def _without_language(cell: Cell) -> tuple[str, str, int, int]:
    return cell.subdomain, cell.attack, cell.severity, cell.turns
