"""What the judge and the rule checks measured, by language and by domain."""

from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from vcjax.report.blocks import Block, Figure, Figures, Section, Table, Text
from vcjax.report.estimates import Estimate
from vcjax.report.names import check_labels, language, words
from vcjax.report.numbers import DASH, count, interval, number, percent
from vcjax.report.plots import Row, bars, intervals
from vcjax.report.runs import Run, held_out, languages, level
from vcjax.report.verdict import change_cells
from vcjax.roles.verdict import HIGHEST, LOWEST

_GROUPS = {"languages": "all questions", "trained": "trained domains", "held_out": "held-out"}
_CHANGE = ("Reading", "Difference", "Interval")
_ALL = "Every check"


def results_section(runs: Sequence[Run], comparison: dict[str, Any] | None) -> Section:
    """Judge means and check rates by language; paired differences where there are two runs."""
    blocks: list[Block] = [*_judge(runs, comparison), *_checks(runs, comparison)]
    return Section("results", "Results by language", blocks)


def domain_section(runs: Sequence[Run]) -> Section:
    """The judge's means by domain; held-out domains stand last and carry a star."""
    starred = held_out(runs)
    present = {domain for run in runs for domain in run.summary["domains"]}
    domains = sorted(present, key=lambda domain: (domain in starred, domain))
    label = {domain: words(domain) + "*" * (domain in starred) for domain in domains}
    blocks: list[Block] = [
        Text(
            "Domains with a star are held out: no training question came from them. Each domain "
            "has few questions, so that none is a finding by itself; an interval without width "
            "means that the scores were equal, not that the mean is certain."
        )
    ]
    figures, tables = [], []
    for code in languages(runs):
        rows = [
            Row(label[d], [Estimate.of(_scored(run, "domains", d, code)) for run in runs])
            for d in domains
        ]
        title = f"Judge's mean by domain, {language(code)}"
        plot = _plot(bars, f"domains-{code}", title, runs, rows, low=LOWEST, high=HIGHEST)
        caption = f"Bars: mean score, {LOWEST} to {HIGHEST}. Lines: {level(runs)} intervals."
        figures += [Figure(caption, svg) for svg in plot]
        tables.append(_domain_table(f"{title}, with the number of scored answers.", runs, rows))
    blocks += [Figures(figures)] if figures else []
    return Section("domains", "By domain", [*blocks, *tables])


def _judge(runs: Sequence[Run], comparison: dict[str, Any] | None) -> list[Block]:
    rows = [
        Row(language(code), [Estimate.of(_scored(run, "languages", code)) for run in runs])
        for code in languages(runs)
    ]
    plot = _plot(intervals, "judge", "Judge's mean score", runs, rows, low=LOWEST, high=HIGHEST)
    caption = f"Mean of the scored answers, {LOWEST} to {HIGHEST}. Lines: {level(runs)} intervals."
    blocks: list[Block] = [
        *(Figure(caption, svg) for svg in plot),
        Table(
            f"Judge's scores, {LOWEST} to {HIGHEST}. An unscored answer has no score at all: two "
            f"columns bound the mean by giving every one of them {LOWEST} or {HIGHEST}. Cut off: "
            "answers that reached the limit of their length.",
            (
                *("Answers", "Mean", "Interval", "Scored", "Unscored"),
                *(f"Unscored as {score}" for score in (LOWEST, HIGHEST)),
                "Cut off",
            ),
            [
                _score_cells(run, code, runs)
                for code in languages(runs)
                for run in runs
                if code in run.summary["languages"]
            ],
        ),
    ]
    reasons = sorted({reason for run in runs for reason in run.summary["unscored"]})
    if reasons:
        rows = [
            (reason, *(count(run.summary["unscored"].get(reason, 0)) for run in runs))
            for reason in reasons
        ]
        blocks.append(Table("Why answers are unscored.", ("Reason", *_heads(runs)), rows))
    if comparison is not None:
        caption = "Judge, paired: the questions that have a score before and after."
        blocks.append(_group_table(caption, comparison, "judge"))
    return blocks


def _checks(runs: Sequence[Run], comparison: dict[str, Any] | None) -> list[Block]:
    figures, tables = [], []
    for code in languages(runs):
        labels = _check_labels(runs, code)
        rows = [Row(label, _rates(runs, code, key)) for key, label in labels.items()]
        title = f"Rule checks passed, {language(code)}"
        plot = _plot(intervals, f"checks-{code}", title, runs, rows, low=0, high=1, share=True)
        caption = f"Share of answers that pass. Lines: {level(runs)} intervals."
        figures += [Figure(caption, svg) for svg in plot]
        changes = {} if comparison is None else _check_changes(comparison["languages"][code])
        tables.append(_check_table(f"{title}.", runs, list(labels), rows, changes))
    blocks: list[Block] = [*([Figures(figures)] if figures else []), *tables]
    if comparison is not None:
        caption = "Answers that pass every check, paired; differences in percentage points."
        blocks.append(_group_table(caption, comparison, "all_checks"))
        blocks.append(
            Text(
                f"Every row is a test of its own at {level(runs)}: among twenty without any true "
                "change, about one is to be expected to read higher or lower by chance."
            )
        )
    return blocks


def _check_labels(runs: Sequence[Run], code: str) -> dict[str, str]:
    """Labels by key: all checks together first, under the key `Every check`, then each."""
    keys = {key for run in runs for key in run.summary["checks"].get(code, {})}
    return {_ALL: _ALL, **check_labels(sorted(keys))}


def _rates(runs: Sequence[Run], code: str, key: str) -> list[Estimate]:
    if key == _ALL:
        records = [run.summary["all_checks"]["languages"].get(code) for run in runs]
    else:
        records = [run.summary["checks"].get(code, {}).get(key) for run in runs]
    return [Estimate.of(record, "rate") for record in records]


def _check_changes(parts: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    records = {_ALL: parts["all_checks"], **parts["checks"]}
    return {key: change_cells(record, share=True) for key, record in records.items()}


def _check_table(
    caption: str,
    runs: Sequence[Run],
    keys: Sequence[str],
    rows: Sequence[Row],
    changes: dict[str, tuple[str, ...]],
) -> Table:
    """Rates and, where there are `changes`, what the paired differences say."""
    if changes:
        caption += " Readings are of the paired differences, in percentage points."
    cells = [
        (
            row.label,
            *changes.get(key, ()),
            *(_with_interval(e, percent) for e in row.estimates),
            count(row.estimates[-1].n),
        )
        for key, row in zip(keys, rows, strict=True)
    ]
    head = ("Check", *(_CHANGE if changes else ()), *_heads(runs, "Passed"), "Answers")
    return Table(caption, head, cells, labels=2 if changes else 1)


def _group_table(caption: str, comparison: dict[str, Any], measure: str) -> Table:
    """Paired differences of a measure over all, trained and held-out domains."""
    share = measure == "all_checks"
    show = percent if share else number
    rows = []
    for code in comparison["languages"]:
        for group, name in _GROUPS.items():
            if code in comparison[group]:
                record = comparison[group][code][measure]
                sides = (show(record["before"]), show(record["after"]))
                cells = (*change_cells(record, share), *sides, count(record["n"]))
                rows.append((f"{language(code)}, {name}", *cells))
    return Table(caption, ("Questions", *_CHANGE, "Before", "After", "Pairs"), rows, labels=2)


def _score_cells(run: Run, code: str, runs: Sequence[Run]) -> tuple[str, ...]:
    record = run.summary["languages"][code]
    return (
        language(code) + (f", {run.name}" if len(runs) > 1 else ""),
        number(record["mean"]),
        interval(record["low"], record["high"]),
        count(record["scored"]),
        count(record["unscored"]),
        *(number(record[f"unscored_as_{score}"]["mean"]) for score in (LOWEST, HIGHEST)),
        count(record["truncated"]),
    )


def _domain_table(caption: str, runs: Sequence[Run], rows: Sequence[Row]) -> Table:
    cells = [
        (
            row.label,
            *(_with_interval(estimate, number) for estimate in row.estimates),
            *(count(estimate.n) for estimate in row.estimates),
        )
        for row in rows
    ]
    scored = [f"Scored {run.name}" for run in runs] if len(runs) > 1 else ["Scored"]
    return Table(caption, ("Domain", *_heads(runs, "Mean"), *scored), cells)


def _scored(run: Run, *path: str) -> dict[str, Any] | None:
    """The statistics at `path` with `n` as the number of scored answers; None where none are."""
    record = run.summary
    for name in path:
        if name not in record:
            return None
        record = record[name]
    return {**record, "n": record["scored"]}


def _heads(runs: Sequence[Run], single: str = "Answers") -> tuple[str, ...]:
    """Column heads, one a run; `single` where there is only one."""
    return tuple(words(run.name) for run in runs) if len(runs) > 1 else (single,)


def _with_interval(estimate: Estimate, show: Callable[[float | None], str]) -> str:
    if estimate.value is None:
        return DASH
    if estimate.bounds is None:
        return show(estimate.value)
    return f"{show(estimate.value)} ({interval(estimate.low, estimate.high, show)})"


def _plot(
    draw: Callable[..., Markup],
    name: str,
    title: str,
    runs: Sequence[Run],
    rows: Sequence[Row],
    **scale: Any,
) -> list[Markup]:
    """The plot, or nothing where there is no value to draw."""
    if all(estimate.value is None for row in rows for estimate in row.estimates):
        return []
    return [draw(name, title, [run.role for run in runs], rows, **scale)]
