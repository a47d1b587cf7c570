"""The funnel of Attacker, Actor and Critic: what became of every attempt, and why."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from vcjax.report.blocks import Block, Figure, Section, Table, Text
from vcjax.report.names import language, words
from vcjax.report.numbers import count, percent
from vcjax.report.plots import stacks

_VERDICTS = ("accepted", "rejected", "unscored", "blocked")
_HEAD = ("Attempts", "Accepted", "Rejected", "Unscored", "Blocked", "Accepted of attempts")


def pipeline_section(synthesis: dict[str, Any]) -> Section:
    """The verdicts by language, subdomain and attack, their reasons, and where questions came from.

    Args:
      synthesis: what `vcjax.adversarial.outputs.summarise` returned: `{attempts, accepted,
        rejected, unscored, blocked, sources, reasons, cells, accept_rate_bounds}` and, where it
        is there, `attacker_faults`.
    """
    low, high = synthesis["accept_rate_bounds"] or (None, None)  # none without any attempt
    blocks: list[Block] = [
        Text(
            f"{count(synthesis['accepted'])} of {count(synthesis['attempts'])} attempts were "
            "accepted as training pairs. An unscored attempt is one whose verdict could not be "
            f"read: it is never taken as accepted. Counting all of those as rejected or as "
            f"accepted, the rate is {percent(low)} or {percent(high)}."
        ),
        Text(_origin(synthesis["sources"])),
    ]
    by_language = _totals(synthesis["cells"], "lang")
    if by_language:
        rows = [
            (language(code), [counts[verdict] for verdict in _VERDICTS])
            for code, counts in by_language.items()
        ]
        title = "What became of the attempts"
        svg = stacks("funnel", title, _VERDICTS, rows)
        blocks.append(Figure(f"{title}, by language.", svg))
    languages = [_cells(language(code), counts) for code, counts in by_language.items()]
    rows = [*languages, _cells("All", synthesis)]
    blocks.append(Table("Attempts by language.", ("Language", *_HEAD), rows))
    reasons = [
        (words(verdict), reason, count(number))
        for verdict, numbers in synthesis["reasons"].items()
        for reason, number in sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    ]
    if reasons:
        head = ("Verdict", "Reason", "Attempts")
        blocks.append(Table("Why attempts were not accepted.", head, reasons, labels=2))
    faults = [(fault, count(n)) for fault, n in synthesis.get("attacker_faults", {}).items()]
    if faults:
        caption = "Why questions of the Attacker could not be used."
        blocks.append(Table(caption, ("Fault", "Questions"), faults))
    for field, name in (("subdomain", "Subdomain"), ("attack", "Attack")):
        totals = _totals(synthesis["cells"], field)
        if totals:
            rows = [_cells(words(key), counts) for key, counts in totals.items()]
            blocks.append(Table(f"Attempts by {field}.", (name, *_HEAD), rows))
    return Section("pipeline", "Adversarial data", blocks)


def _origin(sources: dict[str, int]) -> str:
    total = sum(sources.values())
    if not total:
        return "No attempt has a recorded source for its question."
    written, seeds = sources.get("attacker", 0), sources.get("seed", 0)
    return (
        f"{count(written)} questions ({percent(written / total)}) were written by the Attacker; "
        f"{count(seeds)} ({percent(seeds / total)}) are seed questions from a given list, which "
        "stood in where the Attacker wrote none that could be used."
    )


def _totals(cells: Iterable[dict[str, Any]], field: str) -> dict[str, Counter]:
    """Sums of the counts by the value of `field`, sorted by it."""
    totals: dict[str, Counter] = defaultdict(Counter)
    for cell in cells:
        for name in ("attempts", *_VERDICTS):
            totals[cell[field]][name] += cell[name]
    return dict(sorted(totals.items()))


def _cells(label: str, counts: dict[str, Any]) -> tuple[str, ...]:
    attempts = counts["attempts"]
    share = counts["accepted"] / attempts if attempts else None
    numbers = (count(counts[name]) for name in ("attempts", *_VERDICTS))
    return (label, *numbers, percent(share))
