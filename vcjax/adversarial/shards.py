"""One plan for several processes or hosts: each attacks cells of its own, in a ledger of its own.

`launch.ledger merge` puts the ledgers together, and the same run without a shard goes on from
there: it makes what is missing and writes the outputs of all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from vcjax.adversarial.cells import Cell
from vcjax.core.errors import UserError

T = TypeVar("T")
REPEAT = "attacker: asked in another shard"
"""Why an accepted attempt isn't exported from a merged ledger: shards don't see each other."""


@dataclass(frozen=True)
class Shard:
    """Part `index`, from 0, of `count`."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Reads `1/4`, the first of four; empty is the whole. Raises: UserError."""
        if not text:
            return cls()
        first, slash, second = text.partition("/")
        numbers = first.isdecimal() and second.isdecimal()
        if not slash or not numbers or not 1 <= int(first) <= int(second):
            raise UserError(f"config.shard: write N/COUNT, such as 1/4, not {text!r}")
        return cls(int(first) - 1, int(second))

    def cells(self, cells: Sequence[Cell]) -> tuple[Cell, ...]:
        """The shard's cells; the languages of one subdomain and attack stay together."""
        places = dict.fromkeys((c.subdomain, c.attack, c.severity, c.turns) for c in cells)
        if self.count > len(places):
            raise UserError(
                f"config.shard: {len(places)} pairs of subdomain and attack aren't enough for "
                f"{self.count} shards"
            )
        own = set(self.part(list(places)))
        return tuple(c for c in cells if (c.subdomain, c.attack, c.severity, c.turns) in own)

    def part(self, items: Sequence[T]) -> Sequence[T]:
        """Every `count`-th of them."""
        return items[self.index :: self.count]

    def share(self, attempts: int) -> int:
        """Of so many attempts in all."""
        return len(self.part(range(attempts)))
