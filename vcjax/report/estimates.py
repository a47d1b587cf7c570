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
    def bounded(self) -> bool:
        """Whether there is an interval at all."""
        return self.low is not None and self.high is not None

    @classmethod
    def of(cls, record: dict[str, Any] | None, key: str = "mean") -> "Estimate":
        """Reads `{<key>, low, high, n}`; None, where nothing was measured, gives an empty one."""
        if record is None:
            return cls()
        values = (record[key], record["low"], record["high"])
        return cls(*(None if missing(value) else value for value in values), record["n"])
