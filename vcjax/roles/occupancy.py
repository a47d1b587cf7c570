"""How much of the time that roles could have answered they did."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from vcjax.roles.role import Role


@dataclass
class _Model:
    """Who answers, of one or several roles.

    Attributes:
      slots: how many asks it answers at a time.
      open: asks that have no reply yet, those that wait included.
      busy: seconds that its slots were taken, all of them added up.
    """

    model: str
    slots: int
    roles: list[str] = field(default_factory=list)
    calls: int = 0
    open: int = 0
    busy: float = 0.0


class Occupancy:
    """Counts the time that slots were taken, while it is entered as a context manager."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Args: `clock` returns seconds."""
        self._clock, self._last = clock, 0.0
        self._seconds = 0.0
        self._models: dict[int, _Model] = {}  # by the identity of the role

    def asked(self, name: str, role: Role, slots: int) -> None:
        """An ask has begun. Args: `name` is what the role is called in the run."""
        self._count()
        model = self._models.setdefault(id(role), _Model(role.model, slots))
        if name not in model.roles:
            model.roles.append(name)
        model.calls += 1
        model.open += 1

    def answered(self, role: Role) -> None:
        """An ask has its reply."""
        self._count()
        self._models[id(role)].open -= 1

    def summary(self) -> list[dict[str, Any]]:
        """For each model its roles, slots and calls, and `busy`, the share of its slots' time that
        was taken in the `seconds` that the run took."""
        return [
            {
                "roles": each.roles,
                "model": each.model,
                "slots": each.slots,
                "calls": each.calls,
                "seconds": self._seconds,
                "busy": each.busy / (each.slots * self._seconds) if self._seconds else None,
            }
            for each in self._models.values()
        ]

    def _count(self) -> None:
        now = self._clock()
        past, self._last = now - self._last, now
        self._seconds += past
        for each in self._models.values():
            # Asks that wait for a slot keep none busy.
            each.busy += past * min(each.open, each.slots)

    def __enter__(self) -> Self:
        self._last = self._clock()
        return self

    def __exit__(self, *exception: object) -> None:
        self._count()
        for each in self._models.values():
            each.open = 0
