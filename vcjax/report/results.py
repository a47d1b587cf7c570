"""What the judge and the rule checks measured, by language and by domain."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from vcjax.report.changes import (
    GROUPS,
    Readings,
    change_cells,
    change_head,
    comparison_readings,
    correction,
    printed_groups,
)
from vcjax.report.formats import (
    bounds,
    capitalised,
    check_labels,
    count,
    language_name,
    level,
    number,
    percent,
    spaced,
    with_bounds,
)
from vcjax.report.measures.tables import table_blocks
from vcjax.report.messages import commas, message, recorded, together, tr
from vcjax.report.page import Block, Figure, Figures, Section, Table, Text
from vcjax.report.plots import Row, interval_plot
from vcjax.roles.verdict import HIGHEST, LOWEST
from vcjax.stats.intervals import Interval

# It is the key of all checks together, too: those of single checks have a slash, `principle/check`.
_ALL = message("Every check")


@dataclass(frozen=True)
class EvaluatedModel:
    """A model and its evaluation.

    Attributes:
      name: what the tables call it, e.g. `before`.
      colour: its colour in the plots, a name in `plots.COLOURS`.
      summary: what `vcjax.evaluation.run.evaluate` returned.
    """

    name: str
    colour: str
    summary: dict[str, Any]


def confidence_level(models: Sequence[EvaluatedModel]) -> str:
    """The confidence of the intervals: `95%`."""
    return level(_confidence(models))


def _confidence(models: Sequence[EvaluatedModel]) -> float:
    return models[0].summary["confidence"]


def results_section(models: Sequence[EvaluatedModel], comparison: dict[str, Any] | None) -> Section:
    """Judge means and check rates by language; paired differences where there are two models."""
    found: Readings = {}
    if comparison is not None:
        found = comparison_readings(comparison, _confidence(models))
    blocks: list[Block] = [
        *_judge(models, comparison, found),
        *_checks(models, comparison, found),
    ]
    return Section("results", tr("Results by language"), blocks)


def domain_section(models: Sequence[EvaluatedModel]) -> Section:
    """The judge's means by domain; held-out domains come last and carry a star."""
    starred = {domain for model in models for domain in model.summary["benchmark"]["held_out"]}
    present = {domain for model in models for domain in model.summary["domains"]}
    domains = sorted(present, key=lambda domain: (domain in starred, domain))
    label = {domain: capitalised(domain) + "*" * (domain in starred) for domain in domains}
    blocks: list[Block] = [
        Text(
            tr(
                "Domains with a star are held out: no training question came from them. Each "
                "domain has few questions, so that none is a finding by itself."
            )
        )
    ]
    figures, tables = [], []
    for code in _languages(models):
        rows = [
            Row(label[domain], [_mean(model, "domains", domain, code) for model in models])
            for domain in domains
        ]
        title = tr("Judge's mean by domain, {language}", language=language_name(code))
        plot = _plot(f"domains-{code}", title, models, rows, low=LOWEST, high=HIGHEST, bars=True)
        caption = tr(
            "Bars: mean score, {low} to {high}. Lines: {confidence} intervals.",
            low=LOWEST,
            high=HIGHEST,
            confidence=confidence_level(models),
        )
        figures += [Figure(caption, svg) for svg in plot]
        caption = tr("{title}, with the number of scored answers.", title=title)
        tables += table_blocks(_domain_table(caption, models, rows))
    blocks += [Figures(figures)] if figures else []
    return Section("domains", tr("By domain"), [*blocks, *tables])


def _judge(
    models: Sequence[EvaluatedModel], comparison: dict[str, Any] | None, found: Readings
) -> list[Block]:
    rows = [
        Row(language_name(code), [_mean(model, "languages", code) for model in models])
        for code in _languages(models)
    ]
    plot = _plot("judge", tr("Judge's mean score"), models, rows, low=LOWEST, high=HIGHEST)
    caption = together(
        tr("Mean of the scored answers, {low} to {high}.", low=LOWEST, high=HIGHEST), _lines(models)
    )
    blocks: list[Block] = [
        *(Figure(caption, svg) for svg in plot),
        *table_blocks(_score_table(models)),
    ]
    # A reason of one evaluation only is a row too, with 0 for the other.
    reasons = sorted({reason for model in models for reason in model.summary["unscored"]})
    if reasons:
        rows = [
            (
                recorded(reason),
                *(count(model.summary["unscored"].get(reason, 0)) for model in models),
            )
            for reason in reasons
        ]
        head = (tr("Reason"), *_heads(models, tr("Answers")))
        blocks.append(Table(tr("Why answers are unscored."), head, rows))
    if comparison is not None:
        caption = tr("Judge, paired: the questions that have a score before and after.")
        blocks.append(_group_table(caption, comparison, "judge", found))
    return blocks


def _score_table(models: Sequence[EvaluatedModel]) -> Table:
    return Table(
        tr(
            "Judge's scores, {low} to {high}. An unscored answer has no score at all: two "
            "columns bound the mean by giving every one of them {low} or {high}. Cut off: "
            "answers that reached the limit of their length.",
            low=LOWEST,
            high=HIGHEST,
        ),
        (
            tr("Answers in"),
            tr("Mean"),
            tr("Interval"),
            tr("Scored"),
            tr("Unscored"),
            *(tr("Unscored as {score}", score=score) for score in (LOWEST, HIGHEST)),
            tr("Cut off"),
        ),
        [
            _score_cells(model, code, models)
            for code in _languages(models)
            for model in models
            if code in model.summary["languages"]
        ],
    )


def _checks(
    models: Sequence[EvaluatedModel], comparison: dict[str, Any] | None, found: Readings
) -> list[Block]:
    figures, tables = [], []
    for code in _languages(models):
        labels = _check_labels(models, code)
        rows = [Row(label, _rates(models, code, key)) for key, label in labels.items()]
        title = tr("Rule checks passed, {language}", language=language_name(code))
        plot = _plot(f"checks-{code}", title, models, rows, low=0, high=1, share=True)
        caption = together(tr("Share of answers that pass."), _lines(models))
        figures += [Figure(caption, svg) for svg in plot]
        changes = {} if comparison is None else _check_changes(comparison, code, found)
        caption = tr("{title}.", title=title)
        tables += table_blocks(_check_table(caption, models, list(labels), rows, changes))
    blocks: list[Block] = [Figures(figures)] if figures else []
    blocks += tables
    if comparison is not None:
        caption = tr("Answers that pass every check, paired; differences in percentage points.")
        blocks.append(_group_table(caption, comparison, "all_checks", found))
        blocks.append(Text(correction(found, confidence_level(models))))
    return blocks


def _check_labels(models: Sequence[EvaluatedModel], code: str) -> dict[str, str]:
    """Labels by key: all checks together first, under the key `Every check`, then each."""
    keys = {key for model in models for key in model.summary["checks"].get(code, {})}
    return {_ALL: tr(_ALL), **check_labels(sorted(keys))}


def _rates(models: Sequence[EvaluatedModel], code: str, key: str) -> list[Interval]:
    if key == _ALL:
        records = [model.summary["all_checks"]["languages"].get(code) for model in models]
    else:
        records = [model.summary["checks"].get(code, {}).get(key) for model in models]
    return [Interval.of(record, "rate") for record in records]


def _check_changes(
    comparison: dict[str, Any], code: str, found: Readings
) -> dict[str, tuple[str, ...]]:
    parts = comparison["languages"][code]
    together = found["languages", code, "all_checks"]
    changes = {_ALL: change_cells(parts["all_checks"], together, share=True)}
    for key, record in parts["checks"].items():
        changes[key] = change_cells(record, found["languages", code, "checks", key], share=True)
    return changes


def _check_table(
    caption: str,
    models: Sequence[EvaluatedModel],
    keys: Sequence[str],
    rows: Sequence[Row],
    changes: dict[str, tuple[str, ...]],
) -> Table:
    """Rates and, where there are `changes`, readings of the paired differences."""
    if changes:
        paired = tr("Readings are of the paired differences, in percentage points.")
        caption = together(caption, paired)
    cells = [
        (
            row.label,
            *changes.get(key, ()),
            *(with_bounds(each, percent) for each in row.intervals),
            count(row.intervals[-1].n),
        )
        for key, row in zip(keys, rows, strict=True)
    ]
    readings = change_head() if changes else ()
    head = (tr("Check"), *readings, *_heads(models, tr("Passed")), tr("Answers"))
    return Table(caption, head, cells, labels=2 if changes else 1)


def _group_table(caption: str, comparison: dict[str, Any], measure: str, found: Readings) -> Table:
    """Paired differences of a measure over all, trained and held-out domains."""
    share = measure == "all_checks"
    show = percent if share else number
    rows = []
    for code in comparison["languages"]:
        for group in printed_groups(comparison, code):
            record = comparison[group][code][measure]
            change = change_cells(record, found[group, code, measure], share)
            cells = (*change, show(record["before"]), show(record["after"]), count(record["n"]))
            rows.append((commas(language_name(code), tr(GROUPS[group])), *cells))
    head = (tr("Questions"), *change_head(), tr("Before"), tr("After"), tr("Pairs"))
    return Table(caption, head, rows, labels=2)


def _score_cells(
    model: EvaluatedModel, code: str, models: Sequence[EvaluatedModel]
) -> tuple[str, ...]:
    record = model.summary["languages"][code]
    return (
        commas(language_name(code), *([spaced(model.name)] if len(models) > 1 else [])),
        number(record["mean"]),
        bounds(Interval.of(record, "mean"), number),
        count(record["scored"]),
        count(record["unscored"]),
        *(number(record[f"unscored_as_{score}"]["mean"]) for score in (LOWEST, HIGHEST)),
        count(record["truncated"]),
    )


def _domain_table(caption: str, models: Sequence[EvaluatedModel], rows: Sequence[Row]) -> Table:
    cells = [
        (
            row.label,
            *(with_bounds(each, number) for each in row.intervals),
            *(count(each.n) for each in row.intervals),
        )
        for row in rows
    ]
    scored = [tr("Scored")]
    if len(models) > 1:
        scored = [tr("Scored {when}", when=spaced(model.name)) for model in models]
    return Table(caption, (tr("Domain"), *_heads(models, tr("Mean")), *scored), cells)


def _mean(model: EvaluatedModel, *path: str) -> Interval:
    """The mean score in the part of the summary at `path`, with the number of scored answers."""
    record = model.summary
    for name in path:
        if name not in record:
            return Interval()
        record = record[name]
    # The mean is of the scored answers; the record's own `n` counts the unscored ones with them.
    return Interval.of({**record, "n": record["scored"]}, "mean")


def _lines(models: Sequence[EvaluatedModel]) -> str:
    return tr("Lines: {confidence} intervals, each by itself.", confidence=confidence_level(models))


def _heads(models: Sequence[EvaluatedModel], single: str) -> tuple[str, ...]:
    """Column heads, one for each model; `single` where there is only one."""
    return tuple(capitalised(model.name) for model in models) if len(models) > 1 else (single,)


def _plot(
    name: str,
    title: str,
    models: Sequence[EvaluatedModel],
    rows: Sequence[Row],
    **scale: Any,
) -> list[Markup]:
    """The plot, or nothing where there is no value to draw."""
    if all(each.value is None for row in rows for each in row.intervals):
        return []
    return [interval_plot(name, title, [model.colour for model in models], rows, **scale)]


def _languages(models: Sequence[EvaluatedModel]) -> list[str]:
    """Codes of the languages of the benchmark, sorted."""
    return sorted({code for model in models for code in model.summary["languages"]})
