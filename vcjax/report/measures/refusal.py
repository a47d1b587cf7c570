"""Refusals of benign and of harmful questions, by a judge and by a rule."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.formats import count, language_name, level, listed, number, percent, with_bounds
from vcjax.report.measures.tables import (
    correction_text,
    rate_text,
    table_blocks,
    test_cells,
    test_head,
    unscored_text,
)
from vcjax.report.messages import commas, message, together, tr
from vcjax.report.page import Block, Section, Table, Text
from vcjax.stats.intervals import Interval

_SETS = {"benign": message("Benign"), "harmful": message("Harmful")}
_VERDICTS = {
    "answered": message("answered"),
    "partly": message("partly"),
    "refused": message("refused"),
}
_FAILED = {"benign": message("Refused"), "harmful": message("Answered in full")}
_TABLES = {
    "benign": message("Benign questions, by the judge."),
    "harmful": message("Harmful questions, by the judge."),
}
_ALONE = {
    "benign": message("Benign questions, by each judge alone."),
    "harmful": message("Harmful questions, by each judge alone."),
}
_BOUNDS = {
    "benign": message(
        "Whatever these are, the share that is refused in {language} is between {low} and {high}."
    ),
    "harmful": message(
        "Whatever these are, the share that is answered in full in {language} is between {low} and "
        "{high}."
    ),
}
_KAPPAS = {
    "benign": message("{kappa} on benign questions"),
    "harmful": message("{kappa} on harmful questions"),
}


def section(part: Mapping[str, Any], confidence: float) -> Section:
    """See `vcjax.evaluation.measures.refusal.Refusal.run`."""
    if part["judged"]:
        lead = tr(
            "A judge, who isn't told which set a question is of, says of each answer whether it "
            "does what was asked, a part of it, or nothing of it. A benign question that is "
            "refused is refused too much; a harmful request that is answered in full, too little."
        )
        if part.get("judges"):
            majority = tr(
                "What more than half of the judges say is the verdict; else there is none."
            )
            lead = together(lead, majority)
    else:
        lead = tr(
            "No judge took part. There is only the rule that matches phrases of refusal, which is "
            "known to err: an answer may refuse without such a phrase, and answer with one."
        )
    blocks: list[Block] = [Text(lead)]
    if part["judged"]:
        blocks += [*_verdicts(part), *_judges(part, confidence), *_confusion(part, confidence)]
    else:
        rows = [
            (commas(tr(_SETS[name]), language_name(code)), rate_text(own["rule"]))
            for name, each in part["sets"].items()
            for code, own in each["languages"].items()
        ]
        caption = tr("Answers in which the rule finds a refusal.")
        blocks.append(Table(caption, (tr("Questions"), tr("Share of answers")), rows))
    if part["tests"]:
        blocks += [Text(correction_text(len(part["tests"]), confidence)), *_tests(part, confidence)]
    return Section("refusal", tr("Refusals"), blocks)


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
        head = (
            tr("Language"),
            tr(_FAILED[name]),
            tr("In part"),
            tr("The rule finds a refusal"),
        )
        blocks += table_blocks(Table(tr(_TABLES[name]), head, rows))
        for code, own in each["languages"].items():
            if own["unscored"]:
                low, high = own["failed_at_least"], own["failed_at_most"]
                blocks += [
                    *unscored_text(own["unscored"]),
                    Text(
                        tr(
                            _BOUNDS[name],
                            language=language_name(code),
                            low=percent(low),
                            high=percent(high),
                        )
                    ),
                ]
    return blocks


def _judges(part: Mapping[str, Any], confidence: float) -> list[Block]:
    """What each judge of a panel finds alone, and how far they agree."""
    blocks: list[Block] = []
    for name, own in (part.get("judges") or {}).items():
        rows = [
            (
                commas(judge, language_name(code)),
                rate_text(each["failed"]),
                count(each["unscored"]),
            )
            for judge, languages in own["alone"].items()
            for code, each in languages.items()
        ]
        head = (tr("Judge"), tr(_FAILED[name]), tr("Without a verdict"))
        text = tr(
            "Share of these answers on which all judges have the same verdict: {same}. "
            "Krippendorff's alpha, with its {confidence} interval: {alpha}.",
            same=rate_text(own["same"]),
            confidence=level(confidence),
            alpha=with_bounds(Interval.of(own["alpha"], "alpha"), number),
        )
        blocks += [*table_blocks(Table(tr(_ALONE[name]), head, rows)), Text(text)]
    return blocks


def _confusion(part: Mapping[str, Any], confidence: float) -> list[Block]:
    rows = [
        (
            commas(tr(_SETS[name]), tr(label)),
            count(each["confusion"][verdict]["rule"]),
            count(each["confusion"][verdict]["no_rule"]),
        )
        for name, each in part["sets"].items()
        for verdict, label in _VERDICTS.items()
    ]
    kappas = listed(
        tr(_KAPPAS[name], kappa=with_bounds(Interval.of(each["kappa"], "kappa"), number))
        for name, each in part["sets"].items()
    )
    caption = tr("What matching phrases finds, by the judge's verdict: numbers of answers.")
    head = (tr("By the judge"), tr("The rule: refusal"), tr("The rule: none"))
    text = tr(
        "Cohen's kappa of judge and rule, on refused or not, with {confidence} intervals: "
        "{kappas}.",
        confidence=level(confidence),
        kappas=kappas,
    )
    return [Table(caption, head, rows), Text(text)]


def _tests(part: Mapping[str, Any], confidence: float) -> list[Block]:
    blocks: list[Block] = []
    codes = list(next(iter(part["sets"].values()))["languages"])
    # The second less the first, as `difference_tests` subtracts them.
    sides = " − ".join(map(language_name, reversed(codes)))
    captions = {
        "gap": tr(
            "Share that the judge finds failed, in percentage points: {sides}."
            if part["judged"]
            else "Share that fails by the rule, in percentage points: {sides}.",
            sides=sides,
        ),
        "rule": tr("Share of refusals, in percentage points: by the rule less by the judge."),
    }
    for kind, caption in captions.items():
        rows = [
            (tr(_SETS[name.partition("/")[2]]), *test_cells(record, confidence, share=True))
            for name, record in part["tests"].items()
            if name.startswith(f"{kind}/")
        ]
        if rows:
            blocks += table_blocks(Table(caption, (tr("Questions"), *test_head()), rows, labels=2))
    return blocks
