"""An estimate with its interval, as the summaries hold it."""

from dataclasses import dataclass
from typing import Any

from vcjax.report.numbers import missing


@dataclass(frozen=True)
class Estimate:
    """A mean, rate or difference, its 95% interval and the number of values behind it."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The interval's ends; None where there is no interval."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @classmethod
    def of(cls, record: dict[str, Any] | None, key: str = "mean") -> "Estimate":
        """Reads `{<key>, low, high, n}`; None, where nothing was measured, gives an empty one."""
        if record is None:
            return cls()
        value, low, high = (
            None if missing(record[name]) else record[name] for name in (key, "low", "high")
        )
        return cls(value, low, high, record["n"])
