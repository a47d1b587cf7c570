"""The report of a Critic that was swapped on a ledger: agreement, reasons, and a sentence."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.report.appendix import lineage_section
from vcjax.report.formats import (
    DASH,
    capitalised,
    count,
    language_name,
    listed,
    number,
    percent,
    points,
    signed,
)
from vcjax.report.page import (
    Block,
    Figure,
    Notice,
    Section,
    Table,
    Text,
    markdown,
    prose,
    write_page,
)
from vcjax.report.plots import Row, interval_plot
from vcjax.stats.intervals import Interval

_MOST_REASONS = 12
_BANDS = ((0.8, "almost perfect"), (0.6, "substantial"), (0.4, "moderate"), (0.2, "fair"))
"""Landis and Koch's words for the lower bound of a kappa (1977, Biometrics 33: 159-174)."""


def write_rejudging_report(
    path: str | os.PathLike,
    *,
    summary: Mapping[str, Any],
    lineage: Sequence[dict[str, Any]] = (),
) -> None:
    """Writes the report.

    Args:
      summary: what `vcjax.road.rejudge.rejudge` returned.
      lineage: see `appendix.lineage_section`.
    """
    old, new = listed(summary["critics"]["ledger"]), summary["critics"]["new"]
    title, *lines = rejudging_lines(summary)
    opening: list[Block] = [
        Notice(title, " ".join(lines)),
        *([prose("critic", same_family=True, accept_score=None)] if summary["same_family"] else []),
        Text(
            f"{new} judged again what {old} had judged: {count(summary['answers'])} answers to "
            f"{count(summary['queries'])} queries under the charter "
            f"“{summary['charter']['name']}”. No answer was asked again. The answers to one query "
            "are alike, so that intervals are by query."
        ),
    ]
    facts = [
        ("Ledger", summary["ledger"]),
        ("Critic of the ledger", old),
        ("New Critic", f"{new}; form {summary['form']}"),
        ("Charter", f"{summary['charter']['name']} {summary['charter']['version']}"),
        ("Seed", str(summary["seed"])),
    ]
    sections = [
        Section("agreement", "Agreement", [_figure(summary), _agreement(summary)]),
        Section("decisions", "Decisions", [_decisions(summary)]),
        Section("reasons", "Reasons", [_reasons(summary)]),
        lineage_section(facts, lineage),
    ]
    write_page(path, f"Another Critic: {new} beside {old}", opening, sections)


def rejudging_markdown(summary: Mapping[str, Any]) -> str:
    """The same tables as Markdown, for a README."""
    return markdown([_agreement(summary), _decisions(summary), _reasons(summary)])


def rejudging_lines(summary: Mapping[str, Any]) -> list[str]:
    """What was found, in sentences: first whether the Critics agree."""
    found, exported = summary["agreement"], summary["exported"]
    kappa, same = Interval.of(found["kappa"]), Interval.of(found["same"])
    change = Interval.of(summary["accepted"]["difference"])
    lines = [
        f"The Critics decide {percent(same.value)} of {count(same.n)} answers alike "
        f"({_stated(kappa)}).",
        f"Answers accepted: {percent(summary['accepted']['ledger']['value'])} by the ledger's, "
        f"{percent(summary['accepted']['new']['value'])} by the new one "
        f"({change.text(points, '{} points [{} to {}]')}).",
        f"Of {count(exported['n'])} pairs that were trained on, the new one accepts "
        f"{Interval.of(exported, 'rate').text(percent, '{} [{} to {}]')}.",
    ]
    undecided = summary["answers"] - same.n
    if undecided:
        lines.append(f"{count(undecided)} answers had no decision of one of them or of both.")
    if summary["same_family"]:
        lines.append("The new Critic is of the family of a model that it judges.")
    return lines


def rejudging_rows(summary: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The table of the agreement as plain cells, its head first."""
    table = _agreement(summary)
    return [tuple(table.head), *map(tuple, table.rows)]


def _stated(kappa: Interval) -> str:
    if kappa.value is None or kappa.low is None:
        return "kappa can't be estimated: one of them decides all alike"
    low = kappa.low
    word = next((word for least, word in _BANDS if low >= least), None)
    shown = f"at least {word}" if word else "not shown to be more than slight"
    return f"kappa {_interval(kappa)}: {shown}"


def _agreement(summary: Mapping[str, Any]) -> Table:
    accepted, found = summary["accepted"], summary["agreement"]
    rows = [
        (
            "Accepted",
            *(percent(accepted[side]["value"]) for side in ("ledger", "new")),
            Interval.of(accepted["difference"]).text(points, "{} [{} to {}]"),
            _interval(Interval.of(found["kappa"])),
            DASH,
            count(found["kappa"]["n"]),
        )
    ]
    rows += [
        _score_row(capitalised(name), own)
        for name, own in (("whole score", summary["score"]), *summary["criteria"].items())
    ]
    rows += [
        (
            f"Accepted, {language_name(lang)}",
            DASH,
            DASH,
            DASH,
            _interval(Interval.of(own["agreement"]["kappa"])),
            DASH,
            count(own["agreement"]["kappa"]["n"]),
        )
        for lang, own in summary["languages"].items()
        if len(summary["languages"]) > 1
    ]
    caption = (
        "What both Critics decided or scored, with 95% intervals by query. The difference is the "
        "new one less the ledger's, in points. Kappa is Cohen's, of scores with quadratic weights; "
        "ICC is the absolute agreement of single scores."
    )
    head = ("", "Ledger", "New", "Difference", "Kappa", "ICC", "Answers")
    return Table(caption, head, rows)


def _score_row(label: str, own: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        label,
        *(number(mean) for mean in own["means"]),
        Interval.of(own["difference"], "value").text(signed, "{} [{} to {}]"),
        _interval(Interval.of(own["kappa"])) if "kappa" in own else DASH,
        _interval(Interval.of(own["icc"])),
        count(own["n"]),
    )


def _interval(interval: Interval) -> str:
    return interval.text(number, "{} [{} to {}]")


def _decisions(summary: Mapping[str, Any]) -> Table:
    kinds = list(summary["decisions"])
    rows = [
        (capitalised(old), *(count(found[kind]) for kind in kinds))
        for old, found in summary["decisions"].items()
    ]
    caption = "Answers by the ledger's decision (rows) and the new Critic's (columns)."
    return Table(caption, ("Ledger", *kinds), rows)


def _reasons(summary: Mapping[str, Any]) -> Table:
    """The commonest reasons of both, the ledger's in rows; the others together."""
    reasons = summary["reasons"]
    totals: dict[str, int] = {}
    for found in reasons.values():
        for name, times in found.items():
            totals[name] = totals.get(name, 0) + times
    columns = sorted(totals, key=lambda name: -totals[name])[:_MOST_REASONS]
    rows = [
        (
            capitalised(old),
            *(count(found.get(name, 0)) for name in columns),
            count(sum(times for name, times in found.items() if name not in columns)),
        )
        for old, found in list(reasons.items())[:_MOST_REASONS]
    ]
    caption = (
        "Why: the ledger's reason in rows, the new Critic's in columns. A rejection's reason is "
        "the aspect with the lowest score, a floor rule, or the score of the whole."
    )
    if len(reasons) > _MOST_REASONS:
        caption += f" The {_MOST_REASONS} commonest reasons of {len(reasons)} are shown."
    return Table(caption, ("Ledger", *map(capitalised, columns), "Other"), rows)


def _figure(summary: Mapping[str, Any]) -> Figure:
    rows = [Row("Accept or reject", [Interval.of(summary["agreement"]["kappa"])])]
    rows += [
        Row(f"Accept or reject, {language_name(lang)}", [Interval.of(own["agreement"]["kappa"])])
        for lang, own in summary["languages"].items()
        if len(summary["languages"]) > 1
    ]
    rows += [
        Row(capitalised(name), [Interval.of(own["kappa"])])
        for name, own in summary["criteria"].items()
    ]
    rows.append(Row("Whole score, ICC", [Interval.of(summary["score"]["icc"])]))
    title = "Agreement of the two Critics beyond chance"
    low = min([0.0, *(each.intervals[0].low or 0.0 for each in rows)])
    svg = interval_plot("rejudged", title, ["after"], rows, low=-1.0 if low < 0 else 0.0, high=1.0)
    return Figure(f"{title}: 1 is whole agreement, 0 is what chance alone gives.", svg)
