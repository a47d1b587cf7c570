"""Facts under pressure before and after, in the demo's report and in its last lines."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.changes import change_cells, change_head
from vcjax.report.formats import (
    bounds,
    count,
    language_name,
    listed,
    percent,
    points,
    spaced,
    with_bounds,
)
from vcjax.report.messages import message, recorded, together, tr
from vcjax.report.page import Block, Notice, Section, Table, Text, prose
from vcjax.report.pressure.verdict import stated, trait_notice
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import readings

_FIRST = "flips"
_SIDES = {"before": message("The model before"), "after": message("The model after")}


def pressure_section(pressure: Mapping[str, Any]) -> Section:
    """What changed under pressure: the verdict, what it cost, and what isn't shown.

    Args:
      pressure: what `vcjax.road.pressure.change.changes` returned.
    """
    words, blocks = _words(pressure), []
    for lang, own in pressure["languages"].items():
        record = own["differences"][_FIRST]
        finding, tone = stated(_FIRST, words[lang, _FIRST], pressure["labels"][_FIRST])
        title = tr("{subject}: {finding}", subject=language_name(lang), finding=finding)
        blocks.append(Notice(title, _sentence(own, record), tone))
        for side, kind in own["traits"].items():
            blocks += trait_notice(tr(_SIDES[side]), lang, kind)
    styles = listed(map(spaced, pressure["held_out_styles"]))
    blocks.append(
        Text(
            tr(
                "The facts are known to the base model and were held out of training, some with "
                "their whole topics. The styles of pressure were held out too: {styles}. What the "
                "model prefers is read from the log-likelihoods of a true and a false sentence.",
                styles=styles,
            )
        )
    )
    blocks.append(prose("pressure_reading"))
    blocks += [_table(pressure, lang, words) for lang in pressure["languages"]]
    return Section("pressure", tr("Facts under pressure"), [*blocks, *_unmeasured(pressure)])


def pressure_lines(pressure: Mapping[str, Any]) -> list[str]:
    """The same for a terminal: what is given up, and beside it what that cost."""
    words, lines = _words(pressure), []
    for lang, own in pressure["languages"].items():
        for name, record in own["differences"].items():
            before, after = (own["rates"][side][name] for side in ("before", "after"))
            change = Interval.of(record, "difference")
            rates = f"{Interval.of(before):.0%} -> {Interval.of(after):.0%}"
            lines.append(
                f"{lang:12} {pressure['labels'][name].lower()}: {rates}; "
                f"{points(change.value)} points [{bounds(change, points)}]: {words[lang, name]}"
            )
    for lang, own in pressure["knowledge"].items():
        if not own["measured"]:
            lines.append(f"{lang:12} not measured: the base model guesses ({_counts(own)})")
    return lines


def _words(pressure: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    return readings(
        {
            (lang, name): Interval.of(record, "difference")
            for lang, own in pressure["languages"].items()
            for name, record in own["differences"].items()
        }
    )


def _sentence(own: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    before, after = (Interval.of(own["rates"][side][_FIRST]) for side in ("before", "after"))
    change = Interval.of(record, "difference")
    return tr(
        "Of {n} known, held-out facts the model gave up {before} under held-out pressure before "
        "and {after} after: {change} [{bounds}].",
        n=count(change.n),
        before=percent(before.value),
        after=percent(after.value),
        change=tr("{change} points", change=points(change.value)),
        bounds=bounds(change, points),
    )


def _table(pressure: Mapping[str, Any], lang: str, words: Mapping[tuple[str, str], str]) -> Table:
    own = pressure["languages"][lang]
    rows = []
    for name, record in own["differences"].items():
        sides = (Interval.of(own["rates"][side][name]) for side in ("before", "after"))
        cells = (with_bounds(rate, percent) for rate in sides)
        change = change_cells(record, words[lang, name], share=True)
        rows.append((recorded(pressure["labels"][name]), *cells, *change))
    caption = tr(
        "{language}: shares of facts with 95% intervals, and paired differences fact by fact in "
        "percentage points. The words follow p corrected for all rows (Holm).",
        language=language_name(lang),
    )
    return Table(caption, (tr("Rate"), tr("Before"), tr("After"), *change_head()), rows)


def _unmeasured(pressure: Mapping[str, Any]) -> list[Block]:
    names = [
        tr("{value} ({bounds})", value=language_name(lang), bounds=_counts(own))
        for lang, own in pressure["knowledge"].items()
        if not own["measured"]
    ]
    missing = ""
    if names:
        missing = tr(
            "{languages} isn't measured: the base model guesses there.", languages=listed(names)
        )
    shown = tr(
        "What isn't shown here: values proper, which need a judge of another family; only whether "
        "facts are kept."
    )
    return [Text(together(shown, missing))]


def _counts(own: Mapping[str, Any]) -> str:
    return tr(
        "{known} facts right, {wrong} wrong", known=count(own["known"]), wrong=count(own["wrong"])
    )
