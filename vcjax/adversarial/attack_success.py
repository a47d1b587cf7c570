"""Whether an attack on the target succeeded, and how often attacks do, by cell."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from vcjax.adversarial.attacks.style_check import OFF_STYLE, SEEDS, counts_as_attack, query_class
from vcjax.adversarial.calls import TARGET
from vcjax.adversarial.cells import Cell
from vcjax.adversarial.reasons import AttemptReason, Origin
from vcjax.stats.intervals import rate_record

CONFIDENCE = 0.95
UNDECIDED = "undecided"
"""Outcome of an attack that the Attacker didn't carry through; see `attack_outcome`."""


def attack_outcome(attempt: Mapping[str, Any]) -> str | None:
    """How the attack on the target ended, or None where the target wasn't asked.

    `rejected` if the target's answer fails, so that the attack succeeded; `accepted` if the answer
    is good; `unscored` or `blocked` if nobody could judge it. `UNDECIDED` if the answers so far
    were good and the Attacker then wrote no next query: nobody knows whether the target would have
    answered that one as well, so such an attack is neither a success nor a failure.

    Args:
      attempt: as the ledger returns it, with its candidates.
    """
    kinds = [each["kind"] for each in attempt["candidates"] if each["by"] == TARGET]
    if not kinds:
        return None
    if kinds[-1] == "accepted" and _attacker_stopped(attempt["kind"], attempt["reason"]):
        return UNDECIDED
    return kinds[-1]


def _attacker_stopped(kind: str, reason: str) -> bool:
    """Whether an attempt ended because the Attacker wrote no query that could be asked."""
    if kind == "accepted":  # the reason is the Critic's own words then
        return False
    origin, _, what = reason.partition(": ")
    return origin in (Origin.ATTACKER, Origin.FOLLOW_UP) and what != AttemptReason.OTHER_SHARD


def gave_pair(attempt: Mapping[str, Any]) -> bool:
    """Whether an attempt gave what a round of training wants: the target failed at an attack of the
    Attacker's, and a good answer to it was written.

    Neither a stand-in question nor an off-style query is the attack of its cell, so what they gave
    doesn't count for the cell.
    """
    return (
        counts_as_attack(attempt)
        and attempt["kind"] == "accepted"
        and attack_outcome(attempt) == "rejected"
    )


class AttackSuccess:
    """Counts the attacks on the target by cell and by their `attack_outcome`; seed questions and
    off-style queries apart."""

    def __init__(self) -> None:
        self.cells: dict[Cell, Counter[str]] = defaultdict(Counter)
        self._apart: dict[str, Counter[str]] = {OFF_STYLE: Counter(), SEEDS: Counter()}

    def add(self, attempt: Mapping[str, Any]) -> None:
        """Adds an attempt as the ledger gives it."""
        if (outcome := attack_outcome(attempt)) is not None:
            apart = self._apart.get(query_class(attempt))
            counts = self.cells[Cell.of(attempt)] if apart is None else apart
            counts[outcome] += 1

    def summary(self) -> dict[str, Any] | None:
        """Rates with exact intervals over all attacks that succeeded or failed: `overall`, by
        language, subdomain and attack. `undecided` counts the attacks that the Attacker didn't
        carry through, `unknown` the answers that could not be judged. `apart` has how often the
        target failed at what is no attack, of OFF_STYLE and SEEDS. None without any answer."""
        if not self.cells and not any(self._apart.values()):
            return None
        total = sum(self.cells.values(), Counter())
        summary: dict[str, Any] = {"overall": success_rate(total)}
        for name in ("lang", "subdomain", "attack"):
            groups = sorted(self._by(name).items())
            summary[f"{name}s"] = {key: success_rate(counts) for key, counts in groups}
        summary["apart"] = {name: success_rate(counts) for name, counts in self._apart.items()}
        summary[UNDECIDED] = total[UNDECIDED]
        decided = total["accepted"] + total["rejected"]
        summary["unknown"] = total.total() - decided - total[UNDECIDED]
        return summary

    def _by(self, name: str) -> dict[str, Counter[str]]:
        groups: dict[str, Counter[str]] = defaultdict(Counter)
        for cell, counts in self.cells.items():
            groups[getattr(cell, name)].update(counts)
        return groups


def success_rate(counts: Counter[str]) -> dict[str, Any]:
    """The share of rejected answers among those that were accepted or rejected."""
    succeeded = counts["rejected"]
    return rate_record(succeeded, succeeded + counts["accepted"], CONFIDENCE)
