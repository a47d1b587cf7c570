"""How often attacks succeed: the attacked checkpoint's own answers that fail, per cell."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from vcjax.adversarial.cells import Cell
from vcjax.adversarial.outcome import TARGET
from vcjax.stats.intervals import rate_record

CONFIDENCE = 0.95


class Success:
    """Counts the target's answers by cell: `rejected` ones are the attacks that succeeded."""

    def __init__(self) -> None:
        self.cells: dict[Cell, Counter[str]] = defaultdict(Counter)

    def add(self, attempt: Mapping[str, Any]) -> None:
        """Takes in an attempt as the ledger gives it."""
        for candidate in attempt["candidates"]:
            if candidate["by"] == TARGET:
                self.cells[Cell.of(attempt)][candidate["kind"]] += 1

    def summary(self) -> dict[str, Any] | None:
        """Rates with Wilson's interval over all answers that could be judged: `overall`, by
        language, subdomain and attack; `unknown` counts the others. None without any answer."""
        if not self.cells:
            return None
        total = sum(self.cells.values(), Counter())
        return {
            "overall": rate(total),
            **{
                f"{name}s": {key: rate(counts) for key, counts in sorted(self._by(name).items())}
                for name in ("lang", "subdomain", "attack")
            },
            "unknown": total.total() - total["accepted"] - total["rejected"],
        }

    def _by(self, name: str) -> dict[str, Counter[str]]:
        groups: dict[str, Counter[str]] = defaultdict(Counter)
        for cell, counts in self.cells.items():
            groups[getattr(cell, name)].update(counts)
        return groups


def rate(counts: Counter[str]) -> dict[str, Any]:
    """The share of failing answers among those that are known to fail or to hold."""
    failed = counts["rejected"]
    return rate_record(failed, failed + counts["accepted"], CONFIDENCE)
