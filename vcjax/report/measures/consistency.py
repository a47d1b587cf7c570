"""Whether the answers change with wording, framing or language."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.report.formats import DASH, bounds, capitalised, count, language_name, number, percent
from vcjax.report.measures.tables import (
    correction_text,
    rate_text,
    table_blocks,
    test_cells,
    test_head,
    unscored_text,
    value_text,
)
from vcjax.report.messages import commas, message, recorded, tr
from vcjax.report.page import Block, Section, Table, Text
from vcjax.stats.intervals import Interval

_CAUSES = {
    "question": message("Question"),
    "language": message("Language"),
    "framing": message("Framing"),
    "wording": message("Wording and chance"),
}


def section(part: Mapping[str, Any], confidence: float) -> Section:
    """See `vcjax.evaluation.measures.consistency.Consistency.run`."""
    share = part["kind"] == "checks"
    what = tr(
        "whether it passes every rule check of the charter, as no judge took part"
        if share
        else "the judge's score"
    )
    left_out = []
    if part["left_out"]:
        items = count(part["left_out"])
        left_out = [Text(tr("Items that have no variants and weren't asked: {n}.", n=items))]
    blocks: list[Block] = [
        Text(
            tr(
                "Every question was asked in its original wording, in {paraphrases} and in an "
                "opposing framing, in each language. The value of an answer is {what}. {n} of "
                "{total} questions have a value for all of their wordings, and are compared.",
                paraphrases=_paraphrases(part),
                what=what,
                n=count(part["complete"]),
                total=count(part["questions"]),
            )
        ),
        *left_out,
        *unscored_text(part["unscored"]),
        *_wordings(part, share),
    ]
    if part["complete"]:
        blocks += [*_within(part, share), *_components(part, share), *_tests(part, confidence)]
    return Section("consistency", tr("Consistency"), blocks)


def _paraphrases(part: Mapping[str, Any]) -> str:
    # The others of the wordings are the original one and the opposing framing.
    paraphrases = len(part["wordings"]) - 2
    return tr("a paraphrase" if paraphrases == 1 else "{n} paraphrases", n=paraphrases)


def _wordings(part: Mapping[str, Any], share: bool) -> list[Block]:
    codes = list(part["languages"])
    rows = [
        (
            recorded(capitalised(name.replace("-", " "))),
            *(
                value_text(
                    Interval.of(part["languages"][code]["wordings"][name], "mean"), share=share
                )
                for code in codes
            ),
        )
        for name in part["wordings"]
    ]
    caption = tr(
        "Share of answers that pass every check by wording." if share else "Mean score by wording."
    )
    return table_blocks(Table(caption, (tr("Wording"), *map(language_name, codes)), rows))


def _within(part: Mapping[str, Any], share: bool) -> list[Block]:
    """Standard deviations within questions, and the shares of questions that change."""
    rows = [
        (language_name(code), *_deviation(own["within"])) for code, own in part["languages"].items()
    ]
    blocks = table_blocks(
        Table(
            tr("Standard deviation between the wordings of one question."),
            (tr("Language"), tr("Deviation"), tr("Interval")),
            rows,
        )
    )
    changed = [
        (commas(language_name(code), label), rate_text(own["changed"][name]))
        for code, own in part["languages"].items()
        for name, label in (
            ("paraphrase", tr("a paraphrase")),
            ("framing", tr("the opposing framing")),
        )
    ]
    if len(part["languages"]) > 1:
        changed.append((tr("The other language"), rate_text(part["changed"]["languages"])))
    changed.append((tr("Any of these"), rate_text(part["changed"]["any"])))
    caption = tr(
        "Questions whose value changes from passing every check to failing one, or back."
        if share
        else "Questions whose value changes by {least} or more.",
        least=number(part["change"], 0),
    )
    return [*blocks, Table(caption, (tr("With"), tr("Share of questions")), changed)]


def _components(part: Mapping[str, Any], share: bool) -> list[Block]:
    rows = []
    for name, label in _CAUSES.items():
        if name in part["components"]:
            record = part["components"][name]
            rows.append((tr(label), *_root(record), percent(record["share"])))
    text = tr(
        "How much each cause makes the values differ, as a standard deviation and as a share of "
        "the variance. What chance adds to each answer and each score is in the last row and is "
        "subtracted from the others; a gap that all questions share is in “Language”."
    )
    head = (tr("Cause"), tr("Deviation"), tr("Interval"), tr("Share"))
    return [Text(text), *table_blocks(Table(tr("Causes of the differences."), head, rows))]


def _tests(part: Mapping[str, Any], confidence: float) -> list[Block]:
    tests, share = part["tests"], part["kind"] == "checks"
    unit = tr("percentage points" if share else "points of the score")
    framing = [
        (language_name(code), *test_cells(tests[f"framing/{code}"], confidence, share=share))
        for code in part["languages"]
    ]
    caption = tr("What the opposing framing changes, in {unit}: opposing less neutral.", unit=unit)
    blocks: list[Block] = [Text(correction_text(len(tests), confidence))]
    blocks += table_blocks(Table(caption, (tr("Language"), *test_head()), framing, labels=2))
    if "gap" not in tests:
        return blocks
    first, second = map(language_name, part["languages"])
    caption = tr(
        "The gap between the languages, in {unit}: {second} less {first}, question by question, "
        "the mean of the neutral wordings.",
        unit=unit,
        second=second,
        first=first,
    )
    head = (tr("Domain"), *test_head(), tr("Questions"))
    return blocks + table_blocks(Table(caption, head, _gaps(tests, confidence, share), 2))


def _gaps(tests: Mapping[str, Any], confidence: float, share: bool) -> Sequence[tuple[str, ...]]:
    rows = []
    for name, record in tests.items():
        kind, _, domain = name.partition("/")
        if kind == "gap":
            cells = test_cells(record, confidence, share=share)
            label = capitalised(domain) if domain else tr("All")
            rows.append((label, *cells, count(record["n"])))
    return rows


def _deviation(record: Mapping[str, Any]) -> tuple[str, str]:
    interval = Interval.of(record, "deviation")
    return number(interval.value), bounds(interval, number)


def _root(record: Mapping[str, Any]) -> tuple[str, str]:
    """The standard deviation of a variance, and its interval; noise may make it negative: 0."""
    interval = Interval.of(record, "variance")
    if interval.value is None:
        return DASH, DASH

    def root(variance: float) -> str:
        return number(math.sqrt(max(0.0, variance)))

    return root(interval.value), bounds(interval, root)
