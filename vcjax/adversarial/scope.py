"""What a run attacks, and what it keeps out of training to measure with."""

from collections.abc import Sequence
from dataclasses import dataclass

from vcjax.adversarial.attacks.style import SEVERITIES, Attack, choose_attacks
from vcjax.adversarial.cells import Cell, cells
from vcjax.adversarial.config import SynthesisConfig
from vcjax.charter.load import load_charter
from vcjax.charter.registry import Language
from vcjax.charter.schema import Charter, Subdomain
from vcjax.core.errors import UserError

GROUPS = ("attacks", "topics", "both")
"""What is held out: the attack, on trained topics; the topic, from trained attacks; or both."""


@dataclass(frozen=True)
class HeldOut:
    """One group of held-out cells; `topics` is whether their topics are held out."""

    cells: tuple[Cell, ...]
    topics: bool


@dataclass(frozen=True)
class Scope:
    """The matrix of a run.

    Attributes:
      attacks, held_out_attacks: those that are trained on, and those that aren't.
      subdomains: that are trained on.
      turns: of the attacks that go on; empty leaves each its own number.
    """

    charter: Charter
    attacks: tuple[Attack, ...]
    held_out_attacks: tuple[Attack, ...]
    subdomains: tuple[Subdomain, ...]
    languages: tuple[Language, ...]
    severities: tuple[int, ...]
    turns: tuple[int, ...]

    def cells(self) -> tuple[Cell, ...]:
        """The cells that are attacked to train on what comes of it."""
        return self._cells(self.subdomains, self.attacks)

    def held_out(self) -> dict[str, HeldOut]:
        """The groups that there are, of GROUPS."""
        kept = [
            subdomain
            for subdomain in self.charter.subdomains()
            if all(subdomain.topics_for(lang, held_out=True) for lang in self.languages)
        ]
        chosen = {
            "attacks": (self.subdomains, self.held_out_attacks),
            "topics": (kept, self.attacks),
            "both": (kept, self.held_out_attacks),
        }
        return {
            group: HeldOut(self._cells(subdomains, attacks), topics=group != "attacks")
            for group, (subdomains, attacks) in chosen.items()
            if subdomains and attacks
        }

    def _cells(
        self, subdomains: Sequence[Subdomain], attacks: Sequence[Attack]
    ) -> tuple[Cell, ...]:
        of = (self.charter, subdomains, attacks, self.languages, self.severities, self.turns)
        return cells(*of)


def read_scope(config: SynthesisConfig) -> Scope:
    """Reads charter and attacks.

    Raises:
      UserError: one that is missing, bad, or named where it can't be.
    """
    charter = load_charter(config.charter)
    severities = _numbers(config.severities, "severities", SEVERITIES[0], SEVERITIES[-1])
    if not severities:
        raise UserError("config.severities: name at least one level from 1 to 3")
    return Scope(
        charter,
        *_attacks(config),
        _subdomains(config, charter),
        _languages(config, charter),
        severities,
        _numbers(config.turns, "turns", 2, 16),
    )


def split(names: str) -> list[str]:
    """The names in a comma-separated list."""
    return [name.strip() for name in names.split(",") if name.strip()]


def _attacks(config: SynthesisConfig) -> tuple[tuple[Attack, ...], tuple[Attack, ...]]:
    held_out = split(config.held_out_attacks)
    kept = choose_attacks(held_out) if held_out else ()
    names = {attack.name for attack in kept}
    both = names & set(split(config.attacks))
    if both:
        raise UserError(
            f"config.held_out_attacks: {min(both)!r} is in config.attacks too; name it in one"
        )
    chosen = choose_attacks(split(config.attacks))
    return tuple(attack for attack in chosen if attack.name not in names), kept


def _subdomains(config: SynthesisConfig, charter: Charter) -> tuple[Subdomain, ...]:
    chosen = [charter.subdomain(id) for id in split(config.subdomains)]
    for subdomain in chosen:
        if subdomain.held_out:
            raise UserError(
                f"config.subdomains: charter {charter.name!r} holds {subdomain.id!r} out"
            )
    return tuple(dict.fromkeys(chosen)) or charter.subdomains(include_held_out=False)


def _languages(config: SynthesisConfig, charter: Charter) -> tuple[Language, ...]:
    asked = split(config.languages)
    for lang in asked:
        if lang not in charter.languages:
            raise UserError(f"config.languages: charter {charter.name!r} has no language {lang!r}")
    return tuple(lang for lang in charter.languages if lang in asked)


def _numbers(value: str, field: str, low: int, high: int) -> tuple[int, ...]:
    numbers = []
    for part in split(value):
        if not part.isdecimal() or not low <= int(part) <= high:
            raise UserError(f"config.{field}: must be numbers from {low} to {high}, not {part!r}")
        if int(part) in numbers:
            raise UserError(f"config.{field}: {part} is there twice")
        numbers.append(int(part))
    return tuple(numbers)
