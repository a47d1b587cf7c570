"""Counts over a stream of decided attempts: they add up per cell, language and in total."""

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from vcjax.adversarial.cells import Cell
from vcjax.adversarial.framings import Framings
from vcjax.adversarial.funnel import STAGES, passed
from vcjax.adversarial.outcome import ACTOR
from vcjax.adversarial.success import Success, rate
from vcjax.adversarial.variety import Variety
from vcjax.roles.verdict import KINDS


class Tallies:
    """What became of attempts: by verdict, stage, cell, reason, language and source."""

    def __init__(self, paired: Collection[str] = ()) -> None:
        """Args: `paired` are the attacks of which two attempts in a row are two framings."""
        self._paired = frozenset(paired)
        self._stages: Counter[str] = Counter()
        self._sources: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._reasons: dict[str, Counter[str]] = {k: Counter() for k in KINDS if k != "accepted"}
        self._cells: dict[Cell, Counter[str]] = defaultdict(Counter)
        self.judged: Counter[tuple[str, str, str]] = Counter()
        """The Actor's answers with a verdict of the Critic's, by language, subdomain and kind."""
        self._framings, self._success, self._variety = Framings(), Success(), Variety()

    def add(self, attempt: dict[str, Any]) -> None:
        """Takes in one attempt as the ledger gives it."""
        kind, cell = attempt["kind"], Cell.of(attempt)
        self._cells[cell][kind] += 1
        self._stages.update(STAGES[: passed(kind, attempt["reason"])])
        self._sources[attempt["source"]] += 1
        if attempt["attacker_fault"]:
            self._faults[attempt["attacker_fault"]] += 1
        if kind != "accepted":
            self._reasons[kind][attempt["reason"]] += 1
        for candidate in attempt["candidates"]:
            if candidate["by"] == ACTOR and candidate["score"] is not None:
                self.judged[cell.lang, cell.subdomain, candidate["kind"]] += 1
        if cell.attack in self._paired:
            self._framings.add(attempt["id"], kind)
        self._success.add(attempt)
        self._variety.add(cell, attempt)

    def summary(self) -> dict[str, Any]:
        """The counts; `accept_rate_bounds` has every unscored attempt as rejected, then as
        accepted."""
        kinds = sum(self._cells.values(), Counter())
        total, low = kinds.total(), kinds["accepted"]
        high = low + kinds["unscored"]
        languages: dict[str, Counter[str]] = defaultdict(Counter)
        for cell, counts in self._cells.items():
            languages[cell.lang].update(counts)
        return {
            **_kinds(kinds),
            "funnel": {stage: self._stages[stage] for stage in STAGES},
            "accept_rate_bounds": [low / total, high / total] if total else None,
            "sources": dict(self._sources),
            "attacker_faults": dict(self._faults.most_common()),
            "reasons": {kind: dict(counts.most_common()) for kind, counts in self._reasons.items()},
            "languages": {lang: _kinds(counts) for lang, counts in sorted(languages.items())},
            "framings": self._framings.summary(),
            "attack_success": self._success.summary(),
            "diversity": self._variety.languages(),
            "cells": [self._cell(cell) for cell in sorted(self._cells)],
        }

    def _cell(self, cell: Cell) -> dict[str, Any]:
        attacked = self._success.cells.get(cell)
        return {
            **asdict(cell),
            **_kinds(self._cells[cell]),
            "attack_success": None if attacked is None else rate(attacked),
            "diversity": self._variety.cell(cell),
        }


def _kinds(counts: Counter[str]) -> dict[str, int]:
    return {"attempts": counts.total(), **{kind: counts[kind] for kind in KINDS}}
