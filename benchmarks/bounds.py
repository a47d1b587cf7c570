"""What the ratios of a bench must be, and what they are to become."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vcjax.core.errors import GateNotMet


@dataclass(frozen=True)
class Bound:
    """A figure's bound: at least `least`, or below `most`. Where `must` is False it's an aim."""

    figure: str
    least: float | None = None
    most: float | None = None
    must: bool = True

    def told(self, figures: Mapping[str, float]) -> dict[str, Any] | None:
        """`figure, least or most, must, measured, met`; None where it wasn't measured."""
        if self.figure not in figures:
            return None
        measured = figures[self.figure]
        if self.least is not None:
            limit, met = {"least": self.least}, measured >= self.least
        else:
            assert self.most is not None
            limit, met = {"most": self.most}, measured < self.most
        return {
            "figure": self.figure,
            **limit,
            "must": self.must,
            "measured": measured,
            "met": met,
        }


def tell(bounds: Sequence[Bound], figures: Mapping[str, float]) -> list[dict[str, Any]]:
    """What the figures say of each bound that they concern."""
    return [told for bound in bounds if (told := bound.told(figures)) is not None]


def require(told: Sequence[Mapping[str, Any]]) -> None:
    """Raises GateNotMet where a bound that must be met isn't."""
    missed = [
        f"{one['figure']} is {one['measured']:.3g}, must be "
        + (f"{one['least']:g} or more" if "least" in one else f"below {one['most']:g}")
        for one in told
        if one["must"] and not one["met"]
    ]
    if missed:
        raise GateNotMet("; ".join(missed))
