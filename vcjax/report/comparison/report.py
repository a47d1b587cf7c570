"""The page on compared runs: its sections, the runs themselves, and what they can't show."""

import os
from collections.abc import Mapping
from typing import Any

from vcjax.evaluation.comparison.logs.samples import ANY_LANGUAGE
from vcjax.evaluation.comparison.workdirs import TOOL
from vcjax.report.comparison.tables import checks, differences, domains, scores
from vcjax.report.comparison.verdict import verdict
from vcjax.report.comparison.wording import language
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
from vcjax.report.page import Block, Notice, Section, Table, Text, prose, write_page
from vcjax.stats.intervals import Interval


def write_comparison_report(path: str | os.PathLike, *, comparison: Mapping[str, Any]) -> None:
    """Writes the report.

    Args:
      comparison: what `vcjax.evaluation.comparison.analysis.compare_runs` returned.
    """
    baseline, *others = [run["name"] for run in comparison["runs"]]
    questions = comparison["questions"]
    asked = [
        f", {count(n)} in {language_name(lang)}"
        for lang, n in questions["languages"].items()
        if lang != ANY_LANGUAGE
    ]
    opening: list[Block] = [
        Text(
            f"{listed(others)} {'is' if len(others) == 1 else 'are'} compared with {baseline}, "
            f"question by question: {count(questions['compared'])} questions{''.join(asked)}. "
            f"{_judged(comparison)}"
        ),
        *(Notice("How the runs were made comparable", note) for note in comparison["notes"]),
        *_problems(comparison),
    ]
    sections = [
        Section("verdict", "Verdict", verdict(comparison)),
        Section("scores", "Scores by domain and language", scores(comparison)),
        Section("differences", "Differences by language", differences(comparison)),
        Section("errors", "Corrected for the judge's errors", _corrected(comparison)),
        Section("domains", "Differences by domain", domains(comparison)),
        Section("checks", "Rule by rule", checks(comparison)),
        Section("runs", "The runs", [_runs(comparison)]),
        Section("limits", "What this comparison is not", [_limits(comparison)]),
    ]
    title = f"{listed(others)} compared with {baseline}"
    write_page(path, title, opening, [section for section in sections if section.blocks])


def _judged(comparison: Mapping[str, Any]) -> str:
    judges = [run["about"].get("judge") for run in comparison["runs"]]
    if "judge" not in comparison["measures"]:
        return "No judge's scores are compared."
    if any(run["tool"] != TOOL for run in comparison["runs"]):
        return f"What is compared is the score “{judges[0]}”."
    return f"The judge was {judges[0]}." if judges[0] else ""


def _problems(comparison: Mapping[str, Any]) -> list[Block]:
    texts = [f"{run['name']}: {text}." for run in comparison["runs"] for text in run["problems"]]
    return [Notice("What is wrong with the runs", " ".join(texts), "warning")] if texts else []


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
            label = f"{name}, {language(lang)}"
            rows.append((label, *cells, bounds(seen, points), *sides, count(seen.n)))
    least = errors["threshold"]
    what = "positive" if least is None else f"scored {number(least, 0)} or more"
    lead = (
        "The judge was measured on answers that people labelled. A judge that errs alike in both "
        "runs shows less of a difference than there is, and none where there is none: so the "
        "readings stay, and the difference grows, as does its interval, which carries how well the "
        "judge's errors are known. That it errs alike in both runs is assumed, not shown."
    )
    head = (
        "Run",
        "True difference",
        "Interval",
        "Seen",
        "Its interval",
        "Before",
        "After",
        "Pairs",
    )
    return [Text(lead), Table(f"Answers that are {what}, in percentage points.", head, rows)]


def _runs(comparison: Mapping[str, Any]) -> Table:
    fields = sorted({field for run in comparison["runs"] for field in run["about"]})
    rows = []
    same = []
    for field in list(fields):
        values = {run["about"].get(field) or DASH for run in comparison["runs"]}
        if len(values) == 1:
            fields.remove(field)
            same.append(f"{field}: {values.pop()}")
    for run in comparison["runs"]:
        own = [run["about"].get(field) or DASH for field in fields]
        counts = (run["questions"], run["left_out"], run["scored"])
        rows.append([run["name"], run["path"], run["tool"], *own, *map(count, counts)])
    head = [
        "Run",
        "Read from",
        "Tool",
        *map(capitalised, fields),
        "Questions",
        "Left out",
        "Scored",
    ]
    caption = "The first is the baseline."
    if same:
        caption += f" The same in all: {', '.join(same)}."
    return Table(caption, head, rows, labels=3 + len(fields))


def _limits(comparison: Mapping[str, Any]) -> Block:
    return prose(
        "comparison_limits",
        questions=count(comparison["questions"]["compared"]),
        judged="judge" in comparison["measures"],
        published="judge" in comparison["measures"] and comparison["scale"] == [0, 5],
    )
