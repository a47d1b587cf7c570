"""What a synthesis run leaves: training records, counts that add up, and a dataset card."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vcjax.adversarial.verdict import KINDS
from vcjax.foundation.files import write_json, write_jsonl, write_text

_CELL = ("subdomain", "attack", "lang")


def accepted_records(attempts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Conversations of the accepted attempts. The persona is left out: the model is to hold the
    charter without being told it."""
    return [
        {
            "id": attempt["id"],
            "messages": [
                {"role": "user", "content": attempt["query"]},
                {"role": "assistant", "content": attempt["answer"]},
            ],
            "lang": attempt["lang"],
            "domain": attempt["subdomain"],
        }
        for attempt in attempts
        if attempt["kind"] == "accepted"
    ]


def preference_records(attempts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Accepted against rejected answers to the same query."""
    return [
        {
            "id": f"{attempt['id']}/{n}",
            "messages": [{"role": "user", "content": attempt["query"]}],
            "chosen": attempt["answer"],
            "rejected": candidate["answer"],
        }
        for attempt in attempts
        if attempt["kind"] == "accepted"
        for n, candidate in enumerate(attempt["candidates"])
        if candidate["kind"] == "rejected" and candidate["answer"].strip()
    ]


def rejected_records(attempts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """All that was not accepted, with everything that is known about why."""
    return [attempt for attempt in attempts if attempt["kind"] != "accepted"]


def summarise(attempts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts by verdict, per cell, per reason and per source.

    `accept_rate_bounds` counts every unscored attempt as rejected, then as accepted.
    """
    total, kinds = len(attempts), Counter(attempt["kind"] for attempt in attempts)
    reasons = {kind: Counter() for kind in KINDS if kind != "accepted"}
    cells: dict[tuple[str, ...], Counter] = {}
    for attempt in attempts:
        if attempt["kind"] != "accepted":
            reasons[attempt["kind"]][attempt["reason"]] += 1
        cells.setdefault(tuple(attempt[name] for name in _CELL), Counter())[attempt["kind"]] += 1
    low, high = kinds["accepted"], kinds["accepted"] + kinds["unscored"]
    return {
        "attempts": total,
        **{kind: kinds[kind] for kind in KINDS},
        "accept_rate_bounds": [low / total, high / total] if total else None,
        "sources": dict(Counter(attempt["source"] for attempt in attempts)),
        "attacker_faults": dict(
            Counter(a["attacker_fault"] for a in attempts if a["attacker_fault"]).most_common()
        ),
        "reasons": {kind: dict(counts.most_common()) for kind, counts in reasons.items()},
        "languages": {
            lang: dict(_kinds(a for a in attempts if a["lang"] == lang))
            for lang in sorted({a["lang"] for a in attempts})
        },
        "cells": [
            {
                **dict(zip(_CELL, cell, strict=True)),
                "attempts": sum(counts.values()),
                **{kind: counts[kind] for kind in KINDS},
            }
            for cell, counts in sorted(cells.items())
        ],
    }


def _kinds(attempts: Iterable[dict[str, Any]]) -> dict[str, int]:
    counts = Counter(attempt["kind"] for attempt in attempts)
    return {"attempts": sum(counts.values()), **{kind: counts[kind] for kind in KINDS}}


def write_outputs(
    folder: Path, attempts: Sequence[dict[str, Any]], facts: dict[str, Any]
) -> dict[str, Any]:
    """Writes the records, `summary.json` and the card; `facts` stand at the summary's top."""
    summary = {**facts, **summarise(attempts)}
    accepted, preferences = accepted_records(attempts), preference_records(attempts)
    write_jsonl(folder / "accepted.jsonl", accepted)
    write_jsonl(folder / "rejected.jsonl", rejected_records(attempts))
    write_jsonl(folder / "preferences.jsonl", preferences)
    write_text(folder / "README.md", _card(summary, len(preferences)))
    write_json(folder / "summary.json", summary)
    return summary


def _card(summary: dict[str, Any], preferences: int) -> str:
    rejected = summary["reasons"]["rejected"]
    same = (
        "**The Critic is of the Actor's model family: its verdicts are not independent evidence.**"
        if summary["same_family"]
        else "The Critic is of another model family than the Actor."
    )
    rules = (
        " **The Critic's threshold was 0: the charter's rule checks alone selected.**"
        if summary["accept_score"] == 0
        else ""
    )
    lines = [
        "# Adversarial pairs",
        "",
        f"Made for the charter **{summary['charter']['name']} {summary['charter']['version']}** "
        f"(hash `{summary['charter']['hash'][:16]}`). {same}{rules}",
        "",
        "| attempts | accepted | rejected | unscored | blocked |",
        "|---|---|---|---|---|",
        "| " + " | ".join(str(summary[name]) for name in ("attempts", *KINDS)) + " |",
        "",
        *[f"- {lang}: {counts}" for lang, counts in summary["languages"].items()],
        "",
        f"`accepted.jsonl` holds conversations, `preferences.jsonl` {preferences} pairs of an "
        "accepted and a rejected answer to the same query, `rejected.jsonl` everything else with "
        "its reason, `ledger.sqlite` every call.",
        "",
        f"Queries by source: {summary['sources']}. Roles: attacker `{summary['attacker']}`, "
        f"actor `{summary['actor']}`, critic `{summary['critic']}`.",
        "",
        "## Why attempts were rejected",
        "",
        *[f"- {reason}: {count}" for reason, count in rejected.items()],
        "",
        "The answers are a model's. They are selected by rules and by a Critic, not checked by "
        "people; facts in them may be wrong.",
        "",
    ]
    return "\n".join(lines)
