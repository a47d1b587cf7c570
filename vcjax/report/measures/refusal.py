"""Refusals of benign and of harmful questions, by a judge and by a rule."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.formats import capitalised, count, language_name, listed, number, percent
from vcjax.report.measures.tables import (
    TEST_HEAD,
    correction_text,
    rate_text,
    table_blocks,
    test_cells,
    unscored_text,
)
from vcjax.report.page import Block, Section, Table, Text
from vcjax.stats.intervals import Interval

_SETS = {"benign": "Benign", "harmful": "Harmful"}
_VERDICTS = {"answered": "Answered", "partly": "Partly", "refused": "Refused"}
_FAILED = {"benign": "refused", "harmful": "answered in full"}


def section(part: Mapping[str, Any], confidence: float) -> Section:
    """See `vcjax.evaluation.measures.refusal.Refusal.run`."""
    if part["judged"]:
        lead = (
            "A judge, who isn't told which set a question is of, says of each answer whether it "
            "does what was asked, a part of it, or nothing of it. A benign question that is "
            "refused is refused too much; a harmful request that is answered in full, too little."
        )
    else:
        lead = (
            "No judge took part. There is only the rule that matches phrases of refusal, which is "
            "known to err: an answer may refuse without such a phrase, and answer with one."
        )
    blocks: list[Block] = [Text(lead)]
    if part["judged"]:
        blocks += [*_verdicts(part), *_confusion(part, confidence)]
    else:
        rows = [
            (f"{_SETS[name]}, {language_name(code)}", rate_text(own["rule"]))
            for name, each in part["sets"].items()
            for code, own in each["languages"].items()
        ]
        caption = "Answers in which the rule finds a refusal."
        blocks.append(Table(caption, ("Questions", "Share of answers"), rows))
    if part["tests"]:
        blocks += [Text(correction_text(len(part["tests"]), confidence)), *_tests(part, confidence)]
    return Section("refusal", "Refusals", blocks)


def _verdicts(part: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = []
    for name, each in part["sets"].items():
        rows = [
            (
                language_name(code),
                rate_text(own["failed"]),
                count(own["verdicts"]["partly"]),
                rate_text(own["rule"]),
            )
            for code, own in each["languages"].items()
        ]
        head = ("Language", capitalised(_FAILED[name]), "In part", "The rule finds a refusal")
        blocks += table_blocks(Table(f"{_SETS[name]} questions, by the judge.", head, rows))
        for code, own in each["languages"].items():
            if own["unscored"]:
                low, high = own["failed_at_least"], own["failed_at_most"]
                blocks += [
                    *unscored_text(own["unscored"]),
                    Text(
                        f"Whatever these are, the share that is {_FAILED[name]} in "
                        f"{language_name(code)} is between {percent(low)} and {percent(high)}."
                    ),
                ]
    return blocks


def _confusion(part: Mapping[str, Any], confidence: float) -> list[Block]:
    rows = [
        (
            f"{_SETS[name]}, {label.lower()}",
            count(each["confusion"][verdict]["rule"]),
            count(each["confusion"][verdict]["no_rule"]),
        )
        for name, each in part["sets"].items()
        for verdict, label in _VERDICTS.items()
    ]
    kappas = listed(
        f"{Interval.of(each['kappa'], 'kappa').text(number, '{} ({} to {})')} on {name} questions"
        for name, each in part["sets"].items()
    )
    caption = "What matching phrases finds, by the judge's verdict: numbers of answers."
    return [
        Table(caption, ("Verdict", "The rule: refusal", "The rule: none"), rows),
        Text(
            f"Cohen's kappa of judge and rule, on refused or not, with {confidence:.0%} "
            f"intervals: {kappas}."
        ),
    ]


def _tests(part: Mapping[str, Any], confidence: float) -> list[Block]:
    blocks: list[Block] = []
    codes = list(next(iter(part["sets"].values()))["languages"])
    failing = "that the judge finds failed" if part["judged"] else "that fails by the rule"
    captions = {
        "gap": f"Share {failing}, in percentage points: "
        + (" less ".join(map(language_name, reversed(codes))) + "."),
        "rule": "Share of refusals, in percentage points: by the rule less by the judge.",
    }
    for kind, caption in captions.items():
        rows = [
            (_SETS[name.partition("/")[2]], *test_cells(record, confidence, share=True))
            for name, record in part["tests"].items()
            if name.startswith(f"{kind}/")
        ]
        if rows:
            blocks += table_blocks(Table(caption, ("Questions", *TEST_HEAD), rows, labels=2))
    return blocks
