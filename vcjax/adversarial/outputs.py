"""What a synthesis run leaves: the records that are trained on, the rejected ones, and the card.

The attempts stream by: a run of a million of them needs no more memory than a small one.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment

from vcjax.adversarial.attacks.style_check import (
    ATTACKS,
    OFF_STYLE,
    SEEDS,
    UNASKED,
    query_class,
)
from vcjax.adversarial.calls import CRITIC
from vcjax.core.files import replaced
from vcjax.core.markdown import markdown_templates
from vcjax.roles.verdict import KINDS
from vcjax.stats.intervals import Interval

Record = dict[str, Any]


def accepted_records(attempt: Record) -> Iterator[Record]:
    """The conversation of an accepted attempt. The persona is left out: the model is to keep to
    the charter without reading it."""
    if attempt["kind"] == "accepted":
        yield {
            "id": attempt["id"],
            "messages": [*_prompt(attempt), {"role": "assistant", "content": attempt["answer"]}],
            "lang": attempt["lang"],
            "domain": attempt["subdomain"],
            **_origin(attempt),
        }


def preference_records(attempt: Record) -> Iterator[Record]:
    """An accepted answer against each rejected one to the same query, the attacked checkpoint's
    own among them."""
    if attempt["kind"] == "accepted":
        for n, candidate in enumerate(attempt["candidates"]):
            answer = candidate["answer"]
            # An unscored answer might be good: it is never the rejected side of a pair.
            if candidate["kind"] == "rejected" and answer.strip() and answer != attempt["answer"]:
                yield {
                    "id": f"{attempt['id']}/{n}",
                    "messages": _prompt(attempt),
                    "chosen": attempt["answer"],
                    "rejected": answer,
                    "domain": attempt["subdomain"],
                    **_origin(attempt),
                }


def rejected_records(attempt: Record) -> Iterator[Record]:
    """An attempt that was not accepted, with all its fields."""
    if attempt["kind"] != "accepted":
        yield {**attempt, **_origin(attempt)}


EXPORTED = {"accepted.jsonl": accepted_records, "preferences.jsonl": preference_records}
"""The files that are trained on."""
KEPT = {"rejected.jsonl": rejected_records}
"""The files that are written in any case."""


def write_records(
    folder: Path, attempts: Iterable[Record], *, export: bool = True
) -> dict[str, int]:
    """Writes the records of all attempts.

    Args:
      export: without it the files of EXPORTED aren't written, and earlier ones are removed.

    Returns the number of records in each file.
    """
    files = {**(EXPORTED if export else {}), **KEPT}
    written: Counter[str] = Counter()
    with ExitStack() as stack:
        streams = {}
        for name in files:
            temporary = stack.enter_context(replaced(folder / name))
            streams[name] = stack.enter_context(temporary.open("w", encoding="utf-8"))
        for attempt in attempts:
            for name, records in files.items():
                for record in records(attempt):
                    streams[name].write(json.dumps(record, ensure_ascii=False) + "\n")
                    written[name] += 1
    # An earlier, smaller run may have exported what this one's gate refuses.
    for name in EXPORTED.keys() - files.keys():
        (folder / name).unlink(missing_ok=True)
    return {name: written[name] for name in files}


def _origin(attempt: Record) -> Record:
    """Who wrote the query; as which attack, none where a seed question stood in; and whether it was
    found to be of that style and on its topic."""
    names = ("source", "attack", "style_checked")
    seed = {"attack": None} if query_class(attempt) == SEEDS else {}
    return {name: attempt[name] for name in names} | seed


def _prompt(attempt: Record) -> list[dict[str, str]]:
    """The messages that the answer follows: the conversation, where there was more than the
    query."""
    return attempt["conversation"] or [{"role": "user", "content": attempt["query"]}]


def dataset_card(summary: Mapping[str, Any]) -> str:
    """The Markdown card of a run, made from its summary alone; see `templates/card.md.jinja`.

    Its front matter lets `datasets` load the records by name from the folder.
    """
    usage = summary["usage"]
    tokens = sum(row["prompt_tokens"] + row["tokens"] for row in usage)
    template = card_templates().get_template("card.md.jinja")
    return template.render(
        summary,
        kinds=KINDS,
        tables={
            "records": _record_rows(summary),
            "kinds": [_COUNTS, [summary[name] for name in _COUNTS]],
            "queries": _query_rows(summary),
            "reasons": _reason_rows(summary),
            "languages": _language_rows(summary),
            "cells": _cell_rows(summary),
            "attack_success": _success_rows(summary["attack_success"]),
            "yield_curve": _yield_rows(summary["yield_curve"]),
            "costs": _cost_rows(usage),
            "lineage": [
                ("role", "what", "hash"),
                *(
                    (each["role"], f"`{each['reference']}`", f"`{each['hash'][:16]}`")
                    for each in summary["parents"]
                ),
            ],
        },
        writers=writers(usage),
        tokens_per_pair=f"{tokens / max(1, summary['accepted']):,.0f}",
    )


def writers(usage: Iterable[Mapping[str, Any]]) -> list[str]:
    """The models that wrote queries and answers, from `Ledger.usage`; a Critic's text is no
    record's."""
    named = (
        f"{row['model']}@{row['revision']}" if row["revision"] else row["model"]
        for row in usage
        if row["role"] != CRITIC
    )
    return list(dict.fromkeys(named))


Rows = list[Any]
"""The head of a table in the card, and the rows below."""

_COUNTS = ("attempts", *KINDS)
_CONTENTS = {
    "accepted.jsonl": "accepted conversations",
    "preferences.jsonl": "pairs of an accepted and a rejected answer to the same query",
    "rejected.jsonl": "attempts that were not accepted, with everything that is known of them",
}


def _record_rows(summary: Mapping[str, Any]) -> Rows:
    rows = [(f"`{name}`", count, _CONTENTS[name]) for name, count in summary["records"].items()]
    ledger = ("`ledger.sqlite`", summary["attempts"], "attempts, and every call")
    return [("file", "records", "contents"), *rows, ledger]


def _reason_rows(summary: Mapping[str, Any]) -> Rows:
    rows = [
        (kind, reason, count)
        for kind, reasons in summary["reasons"].items()
        for reason, count in reasons.items()
    ]
    rows += [("query not used", name, n) for name, n in summary["attacker_faults"].items()]
    return [("end", "reason", "attempts"), *rows] if rows else []


def _yield_rows(curve: Sequence[Mapping[str, int]]) -> Rows:
    """About eight points of the curve, the last one among them."""
    shown = curve[:: -max(1, len(curve) // 8)][::-1]
    rows: Rows = [("attempts so far", "accepted so far", "share since the row before")]
    before = {"attempts": 0, "accepted": 0}
    for point in shown:
        gained = point["accepted"] - before["accepted"]
        share = gained / (point["attempts"] - before["attempts"])
        rows.append((point["attempts"], point["accepted"], f"{share:.0%}"))
        before = point
    return rows if shown else []


_QUERY_CLASSES = {
    ATTACKS: "attacks: the Attacker's, of their style and topic",
    OFF_STYLE: "the Attacker's, off their style or topic",
    SEEDS: "seed questions that stood in",
    UNASKED: "no query",
}


def _query_rows(summary: Mapping[str, Any]) -> Rows:
    rows = [
        (_QUERY_CLASSES[name], *(counts[kind] for kind in _COUNTS))
        for name, counts in summary["queries"].items()
    ]
    return [("queries", *_COUNTS), *rows]


def _language_rows(summary: Mapping[str, Any]) -> Rows:
    rows: Rows = [
        ("language", *_COUNTS, "distinct-1", "distinct-2", "self-BLEU", "coverage"),
    ]
    for lang, counts in summary["languages"].items():
        found = summary["diversity"].get(lang)
        queries = found["accepted_queries"] if found else {}
        figures = [queries.get(name) for name in ("distinct_1", "distinct_2", "self_bleu")]
        figures.append(found["coverage"] if found else None)
        rows.append((lang, *(counts[name] for name in _COUNTS), *map(_number, figures)))
    return rows


def _cell_rows(summary: Mapping[str, Any]) -> Rows:
    names = ("subdomain", "attack", "lang", "severity", "turns", "attempts", "accepted")
    rows: Rows = [(*names, "accepted attacks", "distinct-2", "self-BLEU", "coverage")]
    for cell in summary["cells"]:
        figures = (cell["diversity"][name] for name in ("distinct_2", "self_bleu", "coverage"))
        counts = (*(cell[name] for name in names), cell["attacks"]["accepted"])
        rows.append((*counts, *map(_number, figures)))
    return rows


def _success_rows(success: Mapping[str, Any] | None) -> Rows:
    if success is None:
        return []
    rows: Rows = [("", "attack success rate [95 %]"), ("all", _rate(success["overall"]))]
    for group in ("langs", "attacks", "subdomains"):
        rows += [(name, _rate(rate)) for name, rate in success[group].items()]
    rows += [(f"apart: {_QUERY_CLASSES[name]}", _rate(r)) for name, r in success["apart"].items()]
    return rows


def _cost_rows(usage: Iterable[Mapping[str, Any]]) -> Rows:
    names = ("role", "model", "calls", "failed", "prompt_tokens", "tokens")
    rows: Rows = [(*names, "seconds", "cost")]
    for row in usage:
        cost = "unknown" if row["cost"] is None else f"{row['cost']:.4g}"
        rows.append((*(row[name] for name in names), f"{row['seconds']:.0f}", cost))
    return rows


@cache
def card_templates() -> Environment:
    """The templates of cards, with the filters that they use."""
    environment = markdown_templates("vcjax.adversarial")
    environment.filters |= {"cell": _cell, "rate": _rate, "interval": _interval}
    return environment


def _cell(value: Any) -> str:
    """A value as one cell of a Markdown table."""
    return str(value).replace("|", "\\|").replace("\n", " ")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _rate(rate: Mapping[str, Any]) -> str:
    interval = Interval.of(rate, "rate")
    return f"{interval}" if interval.value is None else f"{rate['k']}/{rate['n']} = {interval:.0%}"


def _interval(found: Mapping[str, Any]) -> str:
    return f"{Interval.of(found):.2f}"
