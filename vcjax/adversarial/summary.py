"""The counts of a run, taken from a stream of its attempts: they add up per cell and in total."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vcjax.adversarial.attack_success import UNDECIDED, AttackSuccess, success_rate
from vcjax.adversarial.attacks.style_check import (
    QUERY_CLASSES,
    UNASKED,
    counts_as_attack,
    query_class,
)
from vcjax.adversarial.calls import ACTOR
from vcjax.adversarial.cells import Cell
from vcjax.adversarial.diversity import SampledDiversity
from vcjax.adversarial.reasons import FILTERS, FUNNEL, stages_passed
from vcjax.roles.verdict import KINDS

_FILTERED = {f"{ACTOR}: {reason}" for reason in FILTERS}


class RunSummary:
    """Counts attempts by verdict, stage, cell, reason, language and source."""

    def __init__(self, in_a_row: Mapping[str, int] | None = None) -> None:
        """Args: `in_a_row`: see `Planner`."""
        self._stages: Counter[str] = Counter()
        self._sources: Counter[str] = Counter()
        self._queries: dict[str, Counter[str]] = {name: Counter() for name in QUERY_CLASSES}
        self._checks: dict[str, Counter[str]] = defaultdict(Counter)
        self._attacks: dict[Cell, Counter[str]] = defaultdict(Counter)
        self._query_reasons: Counter[str] = Counter()
        self._reasons: dict[str, Counter[str]] = {k: Counter() for k in KINDS if k != "accepted"}
        self._cells: dict[Cell, Counter[str]] = defaultdict(Counter)
        self._filtered: dict[str, Counter[str]] = defaultdict(Counter)
        self.judged: Counter[tuple[str, str, str]] = Counter()
        """The Actor's answers with a score of the Critic's, by language, subdomain and kind."""
        self._framings, self._yield = FramingAgreement(in_a_row or {}), YieldCurve()
        self._success, self._diversity = AttackSuccess(), SampledDiversity()

    def add(self, attempt: dict[str, Any]) -> None:
        """Adds one attempt as the ledger gives it."""
        kind, cell = attempt["kind"], Cell.of(attempt)
        self._cells[cell][kind] += 1
        self._stages.update(FUNNEL[: stages_passed(kind, attempt["reason"])])
        asked = query_class(attempt)
        self._queries[asked][kind] += 1
        if asked != UNASKED:  # whose record has the source that was tried last
            self._sources[attempt["source"]] += 1
        if counts_as_attack(attempt):
            self._attacks[cell][kind] += 1
        if attempt["checked_by"]:
            self._checks[attempt["checked_by"]][attempt["style_checked"]] += 1
        if attempt["attacker_fault"]:
            self._query_reasons[attempt["attacker_fault"]] += 1
        if kind != "accepted":
            self._reasons[kind][attempt["reason"]] += 1
        for candidate in attempt["candidates"]:
            self._count_filter(candidate)
            if candidate["by"] == ACTOR and candidate["score"] is not None:
                self.judged[cell.lang, cell.subdomain, candidate["kind"]] += 1
        # A question of which one side isn't a framing can't be compared.
        framed = kind if counts_as_attack(attempt) else UNDECIDED
        self._framings.add(cell.attack, attempt["id"], framed)
        self._yield.add(kind == "accepted")
        self._success.add(attempt)
        self._diversity.add(cell, attempt)

    def _count_filter(self, candidate: Mapping[str, Any]) -> None:
        # A trusted Critic's verdict has the filter's reason in its detail; where the Critic had
        # none, that is the reason too.
        by_filter, reason = candidate.get("detail", {}).get("filter"), candidate.get("reason", "")
        if by_filter not in (None, reason):
            outcome = {"accepted": "overruled", "rejected": "confirmed"}[candidate["kind"]]
            self._filtered[by_filter][outcome] += 1
        elif reason in _FILTERED or by_filter:
            self._filtered[reason]["rejected"] += 1

    def filtered(self) -> dict[str, dict[str, int]]:
        """The answers that each filter would reject, by its reason: `rejected` without asking a
        Critic, or with one that is trusted `confirmed` or `overruled` by it."""
        return {
            reason: {name: counts[name] for name in ("rejected", "confirmed", "overruled")}
            for reason, counts in sorted(self._filtered.items())
        }

    def summary(self) -> dict[str, Any]:
        """The counts, JSON-serialisable.

        `accept_rate_bounds` has every unscored attempt as rejected, then as accepted; `queries` the
        counts of each of QUERY_CLASSES; `style_checks` the outcomes of `QueryCheck`s, by who
        checked; a cell's `attacks` its counts without seed questions and off-style queries.
        """
        kinds = sum(self._cells.values(), Counter())
        total, low = kinds.total(), kinds["accepted"]
        high = low + kinds["unscored"]
        languages: dict[str, Counter[str]] = defaultdict(Counter)
        for cell, counts in self._cells.items():
            languages[cell.lang].update(counts)
        return {
            **_kinds(kinds),
            "funnel": {stage: self._stages[stage] for stage in FUNNEL},
            "accept_rate_bounds": [low / total, high / total] if total else None,
            "sources": dict(self._sources),
            "queries": {name: _kinds(counts) for name, counts in self._queries.items()},
            "style_checks": {by: dict(found) for by, found in sorted(self._checks.items())},
            "attacker_faults": dict(self._query_reasons.most_common()),
            "reasons": {kind: dict(counts.most_common()) for kind, counts in self._reasons.items()},
            "languages": {lang: _kinds(counts) for lang, counts in sorted(languages.items())},
            "framings": self._framings.summary(),
            "yield_curve": self._yield.summary(),
            "attack_success": self._success.summary(),
            "diversity": self._diversity.languages(),
            "cells": [self._cell(cell) for cell in sorted(self._cells)],
        }

    def _cell(self, cell: Cell) -> dict[str, Any]:
        attacked = self._success.cells.get(cell)
        return {
            **asdict(cell),
            **_kinds(self._cells[cell]),
            "attacks": _kinds(self._attacks[cell]),
            "attack_success": None if attacked is None else success_rate(attacked),
            "diversity": self._diversity.cell(cell),
        }


class YieldCurve:
    """Accepted pairs by the number of attempts so far: a bounded number of evenly spaced points.

    A run's yield falls as new queries repeat old ones, so a larger run's cost isn't that of its
    average pair; `vcjax.plan.synthesis` uses the last half.
    """

    def __init__(self, points: int = 40) -> None:
        """Args: `points`: between half of it and all of it are kept of a long run."""
        self._most, self._stride = points, 1
        self._attempts = self._accepted = 0
        self._points: list[tuple[int, int]] = []

    def add(self, accepted: bool) -> None:
        """Counts the next attempt; attempts come in the order of their numbers."""
        self._attempts += 1
        self._accepted += accepted
        if self._attempts % self._stride:
            return
        self._points.append((self._attempts, self._accepted))
        if len(self._points) == self._most:
            self._points, self._stride = self._points[1::2], 2 * self._stride

    def summary(self) -> list[dict[str, int]]:
        """`{attempts, accepted}` so far, the last of them at the end; empty without attempts."""
        last = (self._attempts, self._accepted)
        points = self._points if self._points[-1:] == [last] else [*self._points, last]
        return [
            {"attempts": attempts, "accepted": accepted}
            for attempts, accepted in points
            if attempts
        ]


class FramingAgreement:
    """Counts the attempts that frame one question differently by whether they ended alike."""

    _OUTCOMES = ("consistent", "inconsistent", "undecided")

    def __init__(self, in_a_row: Mapping[str, int]) -> None:
        self._in_a_row = in_a_row
        self._incomplete: dict[str, list[str]] = defaultdict(list)
        self._counts: Counter[str] = Counter()

    def add(self, attack: str, id: str, kind: str) -> None:
        """Args: `id` is an attempt's; of a pair, the indices in its cell are 2n and 2n + 1."""
        size = self._in_a_row.get(attack, 1)
        if size == 1:
            return
        cell, _, index = id.rpartition(".")
        question = f"{cell}.{int(index) // size}"
        self._incomplete[question].append(kind)
        if len(self._incomplete[question]) < size:
            return
        # Removed once it is complete: a run may have a million attempts.
        kinds = set(self._incomplete.pop(question))
        if not kinds <= {"accepted", "rejected"}:
            self._counts["undecided"] += 1
        else:
            self._counts["consistent" if len(kinds) == 1 else "inconsistent"] += 1

    def summary(self) -> dict[str, int] | None:
        """Questions whose answers were all accepted or all rejected, questions of which some were,
        and questions that can't be compared; None without any."""
        return {name: self._counts[name] for name in self._OUTCOMES} if self._counts else None


def shortfall(summary: Mapping[str, Any]) -> str:
    """One line on what a run missed: pairs that weren't exported, cells without their pairs.

    Empty where nothing was missed.
    """
    parts = []
    if not summary["exported"]:
        parts.append(
            f"the pairs aren't exported: {summary['calibration']['gate']['why']}; set "
            "config.force_export=True to have them all the same"
        )
    if summary["quota"]["unmet"]:
        parts.append(unmet_line(summary["quota"]))
    return "; ".join(parts)


def occupancy_line(summary: Mapping[str, Any]) -> str:
    """One line on how busy each model was in the last start of a run; empty where none was asked,
    and of runs of earlier versions."""
    parts = [
        f"{each['busy']:.0%} of {each['slots']} ({', '.join(each['roles'])})"
        for each in summary.get("occupancy", ())
        if each["busy"] is not None
    ]
    return f"slots busy: {'; '.join(parts)}" if parts else ""


def unmet_line(quota: Mapping[str, Any]) -> str:
    """One line for the terminal on the cells without their pairs, the worst first.

    Args:
      quota: of `vcjax.adversarial.plan.quota_report`.
    """
    worst = sorted(quota["unmet"], key=lambda cell: cell["accepted"])[:3]
    named = "; ".join(
        f"{cell['subdomain']}/{cell['attack']}/{cell['lang']}: {cell['accepted']} accepted of "
        f"{cell['attempts']} attempts"
        for cell in worst
    )
    return (
        f"{len(quota['unmet'])} of {quota['cells']} cells ended without their "
        f"{quota['per_cell']} pairs ({named}{'; …' if len(quota['unmet']) > 3 else ''}); "
        "raise config.attempts or config.cell_attempts to continue"
    )


def _kinds(counts: Counter[str]) -> dict[str, int]:
    return {"attempts": counts.total(), **{kind: counts[kind] for kind in KINDS}}
