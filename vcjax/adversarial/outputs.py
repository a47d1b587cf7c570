"""What a synthesis run leaves: training records, counts that add up, and a dataset card.

The attempts stream by once: a run of a million of them needs no more memory than a small one.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from vcjax.adversarial.card import card
from vcjax.adversarial.funnel import STAGES, passed
from vcjax.adversarial.verdict import KINDS
from vcjax.foundation.files import replaced, write_json, write_text

CELL = ("subdomain", "attack", "lang", "severity", "turns")
Record = dict[str, Any]


def accepted_records(attempt: Record) -> Iterator[Record]:
    """The conversation of an accepted attempt. The persona is left out: the model is to hold the
    charter without being told it."""
    if attempt["kind"] == "accepted":
        yield {
            "id": attempt["id"],
            "messages": [*_prompt(attempt), {"role": "assistant", "content": attempt["answer"]}],
            "lang": attempt["lang"],
            "domain": attempt["subdomain"],
        }


def preference_records(attempt: Record) -> Iterator[Record]:
    """An accepted answer against each rejected one to the same query."""
    if attempt["kind"] == "accepted":
        for n, candidate in enumerate(attempt["candidates"]):
            answer = candidate["answer"]
            if candidate["kind"] == "rejected" and answer.strip() and answer != attempt["answer"]:
                yield {
                    "id": f"{attempt['id']}/{n}",
                    "messages": _prompt(attempt),
                    "chosen": attempt["answer"],
                    "rejected": answer,
                    "domain": attempt["subdomain"],
                }


def rejected_records(attempt: Record) -> Iterator[Record]:
    """What was not accepted, with everything that is known about why."""
    if attempt["kind"] != "accepted":
        yield attempt


FILES = {
    "accepted.jsonl": accepted_records,
    "preferences.jsonl": preference_records,
    "rejected.jsonl": rejected_records,
}


def write_outputs(folder: Path, attempts: Iterable[Record], facts: Record) -> Record:
    """Writes the records, `summary.json` and the card; `facts` stand at the summary's top."""
    tally = Tallies()
    with ExitStack() as stack:
        streams = {}
        for name in FILES:
            temporary = stack.enter_context(replaced(folder / name))
            streams[name] = stack.enter_context(temporary.open("w", encoding="utf-8"))
        records: Counter[str] = Counter()
        for attempt in attempts:
            tally.add(attempt)
            for name, of in FILES.items():
                for record in of(attempt):
                    streams[name].write(json.dumps(record, ensure_ascii=False) + "\n")
                    records[name] += 1
    summary = {**facts, **tally.summary(), "records": {name: records[name] for name in FILES}}
    write_text(folder / "README.md", card(summary))
    write_json(folder / "summary.json", summary)
    return summary


class Tallies:
    """Counts by verdict, per cell, per reason, per language and per source."""

    def __init__(self) -> None:
        self._kinds: Counter[str] = Counter()
        self._stages: Counter[str] = Counter()
        self._sources: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._reasons: dict[str, Counter[str]] = {k: Counter() for k in KINDS if k != "accepted"}
        self._cells: dict[tuple[Any, ...], Counter[str]] = {}

    def add(self, attempt: Record) -> None:
        kind = attempt["kind"]
        self._kinds[kind] += 1
        self._stages.update(STAGES[: passed(kind, attempt["reason"])])
        self._sources[attempt["source"]] += 1
        if attempt["attacker_fault"]:
            self._faults[attempt["attacker_fault"]] += 1
        if kind != "accepted":
            self._reasons[kind][attempt["reason"]] += 1
        cell = tuple(attempt[name] for name in CELL)
        self._cells.setdefault(cell, Counter())[kind] += 1

    def summary(self) -> Record:
        """The counts; `accept_rate_bounds` has every unscored attempt as rejected, then as
        accepted."""
        total, kinds = self._kinds.total(), self._kinds
        low, high = kinds["accepted"], kinds["accepted"] + kinds["unscored"]
        languages: dict[str, Counter[str]] = {}
        for cell, counts in self._cells.items():
            languages.setdefault(cell[CELL.index("lang")], Counter()).update(counts)
        return {
            **_kinds(kinds),
            "funnel": {stage: self._stages[stage] for stage in STAGES},
            "accept_rate_bounds": [low / total, high / total] if total else None,
            "sources": dict(self._sources),
            "attacker_faults": dict(self._faults.most_common()),
            "reasons": {kind: dict(counts.most_common()) for kind, counts in self._reasons.items()},
            "languages": {lang: _kinds(languages[lang]) for lang in sorted(languages)},
            "cells": [
                {**dict(zip(CELL, cell, strict=True)), **_kinds(counts)}
                for cell, counts in sorted(self._cells.items())
            ],
        }


def _kinds(counts: Counter[str]) -> dict[str, int]:
    return {"attempts": counts.total(), **{kind: counts[kind] for kind in KINDS}}


def _prompt(attempt: Record) -> list[dict[str, str]]:
    """What the answer is to: the conversation, where there was more than the query."""
    return attempt["conversation"] or [{"role": "user", "content": attempt["query"]}]
