"""The page on compared runs: its sections, the runs themselves, and what they can't show."""

import os
from collections.abc import Mapping
from typing import Any

from vcjax.evaluation.comparison.logs.samples import ANY_LANGUAGE
from vcjax.evaluation.comparison.workdirs import TOOL
from vcjax.report.comparison.options import choice, stance
from vcjax.report.comparison.tables import checks, differences, domains, scores
from vcjax.report.comparison.verdict import verdict
from vcjax.report.comparison.wording import beside_the_paper, run_in
from vcjax.report.formats import (
    DASH,
    bounds,
    capitalised,
    count,
    language_name,
    listed,
    number,
    percent,
    points,
)
from vcjax.report.messages import commas, recorded, together, tr, written_in
from vcjax.report.page import Block, Notice, Section, Table, Text, prose, write_page
from vcjax.stats.intervals import Interval
from vcjax.text.language import Language


def write_comparison_report(
    path: str | os.PathLike, *, comparison: Mapping[str, Any], language: Language = "en"
) -> None:
    """Writes the report.

    Args:
      comparison: what `vcjax.evaluation.comparison.analysis.compare_runs` returned.
      language: that the report is written in.
    """
    with written_in(language, comparison.get("domain_names")):
        write_page(path, *_comparison(comparison))


def _comparison(comparison: Mapping[str, Any]) -> tuple[str, list[Block], list[Section]]:
    """Title, opening and sections."""
    baseline, *others = [run["name"] for run in comparison["runs"]]
    questions = comparison["questions"]
    asked = [
        tr("{n} in {language}", n=count(n), language=language_name(lang))
        for lang, n in questions["languages"].items()
        if lang != ANY_LANGUAGE
    ]
    opening: list[Block] = [
        Text(
            together(
                tr(
                    "{others} is compared with {baseline}, question by question: {questions}."
                    if len(others) == 1
                    else "{others} are compared with {baseline}, question by question: "
                    "{questions}.",
                    others=listed(others),
                    baseline=baseline,
                    questions=commas(tr("{n} questions", n=count(questions["compared"])), *asked),
                ),
                _judged(comparison),
            )
        ),
        *_notes(comparison),
        *_problems(comparison),
    ]
    sections = [
        Section("verdict", tr("Verdict"), verdict(comparison)),
        Section("scores", tr("Scores by domain and language"), scores(comparison)),
        Section("differences", tr("Differences by language"), differences(comparison)),
        Section("errors", tr("Corrected for the judge's errors"), _corrected(comparison)),
        Section("domains", tr("Differences by domain"), domains(comparison)),
        Section("stance", tr("Stance"), stance(comparison)),
        Section("choice", tr("Multiple choice"), choice(comparison)),
        Section("checks", tr("Rule by rule"), checks(comparison)),
        Section("runs", tr("The runs"), [_runs(comparison)]),
        Section("limits", tr("What this comparison is not"), [_limits(comparison)]),
    ]
    title = tr("{others} compared with {baseline}", others=listed(others), baseline=baseline)
    # What the runs haven't measured has no blocks.
    return title, opening, [section for section in sections if section.blocks]


def _judged(comparison: Mapping[str, Any]) -> str:
    judges = [run["about"].get("judge") for run in comparison["runs"]]
    if "judge" not in comparison["measures"]:
        return tr("No judge's scores are compared.")
    # A score of another tool needn't be a judge's.
    if any(run["tool"] != TOOL for run in comparison["runs"]):
        return tr("What is compared is the score “{score}”.", score=judges[0])
    return tr("The judge was {judge}.", judge=judges[0]) if judges[0] else ""


def _notes(comparison: Mapping[str, Any]) -> list[Block]:
    if not comparison["notes"]:
        return []
    text = together(*map(recorded, comparison["notes"]))
    return [Notice(tr("How the runs were made comparable"), text)]


def _problems(comparison: Mapping[str, Any]) -> list[Block]:
    """A notice for each run with which something is wrong."""
    return [
        Notice(
            tr("What is wrong with {run}", run=run["name"]),
            together(*(tr("{sentence}.", sentence=recorded(text)) for text in run["problems"])),
            "warning",
        )
        for run in comparison["runs"]
        if run["problems"]
    ]


def _corrected(comparison: Mapping[str, Any]) -> list[Block]:
    errors = comparison["judge_errors"]
    if errors is None:
        return []
    rows = []
    for name, own in errors["comparisons"].items():
        for lang, record in own.items():
            seen, true = (Interval.of(record[each], "difference") for each in ("seen", "corrected"))
            sides = (percent(record["seen"][side]) for side in ("before", "after"))
            cells = (points(true.value), bounds(true, points), points(seen.value))
            label = run_in(name, lang)
            rows.append((label, *cells, bounds(seen, points), *sides, count(seen.n)))
    least = errors["threshold"]
    caption = tr(
        "Answers that are positive, in percentage points."
        if least is None
        else "Answers that are scored {least} or more, in percentage points.",
        least=number(least, 0),
    )
    lead = tr(
        "The judge was measured on answers that people labelled. A judge that errs alike in both "
        "runs shows less of a difference than there is, and none where there is none: so the "
        "readings stay, and the difference grows, as does its interval, which carries how well the "
        "judge's errors are known. That it errs alike in both runs is assumed, not shown."
    )
    head = (
        tr("Run"),
        tr("True difference"),
        tr("Interval"),
        tr("Seen"),
        tr("Its interval"),
        tr("Before"),
        tr("After"),
        tr("Pairs"),
    )
    return [Text(lead), Table(caption, head, rows)]


def _runs(comparison: Mapping[str, Any]) -> Table:
    fields = sorted({field for run in comparison["runs"] for field in run["about"]})
    rows = []
    same = []
    # A copy, as what is the same in all runs leaves the table for its caption.
    for field in list(fields):
        values = {run["about"].get(field) or DASH for run in comparison["runs"]}
        if len(values) == 1:
            fields.remove(field)
            same.append(
                tr("{field}: {value}", field=capitalised(field).lower(), value=values.pop())
            )
    for run in comparison["runs"]:
        own = [run["about"].get(field) or DASH for field in fields]
        counts = (run["questions"], run["left_out"], run["scored"])
        rows.append([run["name"], run["path"], run["tool"], *own, *map(count, counts)])
    head = [
        tr("Run"),
        tr("Read from"),
        tr("Tool"),
        *map(capitalised, fields),
        tr("Questions"),
        tr("Left out"),
        tr("Scored"),
    ]
    caption = tr("The first is the baseline.")
    if same:
        caption = together(caption, tr("The same in all: {fields}.", fields=commas(*same)))
    return Table(caption, head, rows, labels=3 + len(fields))


def _limits(comparison: Mapping[str, Any]) -> Block:
    return prose(
        "comparison_limits",
        questions=count(comparison["questions"]["compared"]),
        judged="judge" in comparison["measures"],
        published=beside_the_paper(comparison),
    )
