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
    with_bounds,
)
from vcjax.report.messages import commas, message, together, tr, written_in
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
from vcjax.text.language import Language

_MOST_REASONS = 12
_BANDS = (
    (0.8, message("at least almost perfect")),
    (0.6, message("at least substantial")),
    (0.4, message("at least moderate")),
    (0.2, message("at least fair")),
)
"""Landis and Koch's words for the lower bound of a kappa (1977, Biometrics 33: 159-174)."""


def write_rejudging_report(
    path: str | os.PathLike,
    *,
    summary: Mapping[str, Any],
    lineage: Sequence[dict[str, Any]] = (),
    language: Language = "en",
) -> None:
    """Writes the report.

    Args:
      summary: what `vcjax.road.rejudge.rejudge` returned.
      lineage: see `appendix.lineage_section`.
      language: that the report is written in.
    """
    with written_in(language):
        write_page(path, *_report(summary, lineage))


def _report(
    summary: Mapping[str, Any], lineage: Sequence[dict[str, Any]]
) -> tuple[str, list[Block], list[Section]]:
    """Title, opening and sections."""
    old, new = listed(summary["critics"]["ledger"]), summary["critics"]["new"]
    title, *lines = rejudging_lines(summary)
    opening: list[Block] = [
        Notice(title, together(*lines)),
        *([prose("critic", same_family=True, accept_score=None)] if summary["same_family"] else []),
        Text(
            tr(
                "{new} judged again what {old} had judged: {answers} answers to {queries} queries "
                "under the charter “{charter}”. No answer was asked again. The answers to one "
                "query are alike, so that intervals are by query.",
                new=new,
                old=old,
                answers=count(summary["answers"]),
                queries=count(summary["queries"]),
                charter=summary["charter"]["name"],
            )
        ),
    ]
    facts = [
        (tr("Ledger"), summary["ledger"]),
        (tr("Critic of the ledger"), old),
        (tr("New Critic"), tr("{critic}; form {form}", critic=new, form=summary["form"])),
        (tr("Charter"), f"{summary['charter']['name']} {summary['charter']['version']}"),
        (tr("Seed"), str(summary["seed"])),
    ]
    sections = [
        Section("agreement", tr("Agreement"), [_figure(summary), _agreement(summary)]),
        Section("decisions", tr("Decisions"), [_decisions(summary)]),
        Section("reasons", tr("Reasons"), [_reasons(summary)]),
        lineage_section(facts, lineage),
    ]
    return tr("Another Critic: {new} beside {old}", new=new, old=old), opening, sections


def rejudging_markdown(summary: Mapping[str, Any]) -> str:
    """The same tables as Markdown, for a README."""
    return markdown([_agreement(summary), _decisions(summary), _reasons(summary)])


def rejudging_lines(summary: Mapping[str, Any]) -> list[str]:
    """What was found, in sentences: first whether the Critics agree."""
    found, exported = summary["agreement"], summary["exported"]
    kappa, same = Interval.of(found["kappa"]), Interval.of(found["same"])
    change = Interval.of(summary["accepted"]["difference"])
    lines = [
        tr(
            "The Critics decide {same} of {n} answers alike ({kappa}).",
            same=percent(same.value),
            n=count(same.n),
            kappa=_stated(kappa),
        ),
        tr(
            "Answers accepted: {old} by the ledger's, {new} by the new one; the difference is "
            "{change} in percentage points.",
            old=percent(summary["accepted"]["ledger"]["value"]),
            new=percent(summary["accepted"]["new"]["value"]),
            change=with_bounds(change, points),
        ),
        tr(
            "Of {n} pairs that were trained on, the new one accepts {share}.",
            n=count(exported["n"]),
            share=with_bounds(Interval.of(exported, "rate"), percent),
        ),
    ]
    undecided = summary["answers"] - same.n
    if undecided:
        text = tr("{n} answers had no decision of one of them or of both.", n=count(undecided))
        lines.append(text)
    if summary["same_family"]:
        lines.append(tr("The new Critic is of the family of a model that it judges."))
    return lines


def rejudging_rows(summary: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The table of the agreement as plain cells, its head first."""
    table = _agreement(summary)
    return [tuple(table.head), *map(tuple, table.rows)]


def _stated(kappa: Interval) -> str:
    # Where one Critic decides all alike, it agrees as often as by chance, whatever the other does.
    if kappa.value is None or kappa.low is None:
        return tr("kappa can't be estimated: one of them decides all alike")
    low = kappa.low
    none = message("not shown to be more than slight")
    # By the lower bound: as much agreement as is shown, and not as much as there may be.
    band = next((band for least, band in _BANDS if low >= least), none)
    return tr("kappa {kappa}: {band}", kappa=_interval(kappa), band=tr(band))


def _agreement(summary: Mapping[str, Any]) -> Table:
    accepted, found = summary["accepted"], summary["agreement"]
    rows = [
        (
            tr("Accepted"),
            *(percent(accepted[side]["value"]) for side in ("ledger", "new")),
            with_bounds(Interval.of(accepted["difference"]), points),
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
            commas(tr("Accepted"), language_name(lang)),
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
    caption = tr(
        "What both Critics decided or scored, with 95% intervals by query. The difference is the "
        "new one less the ledger's, in points. Kappa is Cohen's, of scores with quadratic weights; "
        "ICC is the absolute agreement of single scores."
    )
    head = (
        "",
        tr("Ledger"),
        tr("New"),
        tr("Difference"),
        tr("Kappa"),
        tr("ICC"),
        tr("Answers"),
    )
    return Table(caption, head, rows)


def _score_row(label: str, own: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        label,
        *(number(mean) for mean in own["means"]),
        with_bounds(Interval.of(own["difference"], "value"), signed),
        _interval(Interval.of(own["kappa"])) if "kappa" in own else DASH,
        _interval(Interval.of(own["icc"])),
        count(own["n"]),
    )


def _interval(interval: Interval) -> str:
    return with_bounds(interval, number)


def _decisions(summary: Mapping[str, Any]) -> Table:
    kinds = list(summary["decisions"])
    rows = [
        (capitalised(old), *(count(found[kind]) for kind in kinds))
        for old, found in summary["decisions"].items()
    ]
    caption = tr("Answers by the ledger's decision (rows) and the new Critic's (columns).")
    return Table(caption, (tr("Ledger"), *map(capitalised, kinds)), rows)


def _reasons(summary: Mapping[str, Any]) -> Table:
    """The commonest reasons of both, the ledger's in rows; the others together."""
    reasons = summary["reasons"]
    totals: dict[str, int] = {}
    for found in reasons.values():
        for name, times in found.items():
            totals[name] = totals.get(name, 0) + times
    # The rows come in this order already, see `vcjax.adversarial.rejudging.agreement`.
    columns = sorted(totals, key=lambda name: -totals[name])[:_MOST_REASONS]
    rows = [
        (
            capitalised(old),
            *(count(found.get(name, 0)) for name in columns),
            count(sum(times for name, times in found.items() if name not in columns)),
        )
        for old, found in list(reasons.items())[:_MOST_REASONS]
    ]
    caption = tr(
        "Why: the ledger's reason in rows, the new Critic's in columns. A rejection's reason is "
        "the aspect with the lowest score, a floor rule, or the score of the whole."
    )
    if len(reasons) > _MOST_REASONS:
        shown = tr(
            "The {n} commonest reasons of {total} are shown.", n=_MOST_REASONS, total=len(reasons)
        )
        caption = together(caption, shown)
    return Table(caption, (tr("Ledger"), *map(capitalised, columns), tr("Other")), rows)


def _figure(summary: Mapping[str, Any]) -> Figure:
    decision = tr("Accept or reject")
    rows = [Row(decision, [Interval.of(summary["agreement"]["kappa"])])]
    rows += [
        Row(commas(decision, language_name(lang)), [Interval.of(own["agreement"]["kappa"])])
        for lang, own in summary["languages"].items()
        if len(summary["languages"]) > 1
    ]
    rows += [
        Row(capitalised(name), [Interval.of(own["kappa"])])
        for name, own in summary["criteria"].items()
    ]
    rows.append(Row(tr("Whole score, ICC"), [Interval.of(summary["score"]["icc"])]))
    title = tr("Agreement of the two Critics beyond chance")
    # Agreement below chance is rare, and half of the axis would be empty for it.
    low = min([0.0, *(each.intervals[0].low or 0.0 for each in rows)])
    svg = interval_plot("rejudged", title, ["after"], rows, low=-1.0 if low < 0 else 0.0, high=1.0)
    caption = tr("{title}: 1 is whole agreement, 0 is what chance alone gives.", title=title)
    return Figure(caption, svg)
