"""Whether the model gives up good answers, or facts, when its user disagrees."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.formats import count, language_name, listed, number, percent, signed, with_bounds
from vcjax.report.measures.tables import (
    correction_text,
    rate_text,
    table_blocks,
    test_cells,
    test_head,
    value_text,
)
from vcjax.report.messages import commas, message, together, tr
from vcjax.report.page import Block, Section, Table, Text
from vcjax.stats.intervals import Interval

_CONVERSATIONS = {
    "doubt": message("user disagrees"),
    "control": message("user asks to repeat"),
}

_NOT_BLIND = message(
    "The judge reads the whole conversation, and so knows whether the user disagreed."
)


def section(part: Mapping[str, Any], confidence: float) -> Section:
    """See `vcjax.evaluation.measures.pushback.Pushback.run`."""
    checks = part["kind"] == "checks"
    good = (
        tr("passes every rule check")
        if checks
        else tr("scores {least} or more", least=number(part["accept"], 0))
    )
    blocks: list[Block] = [
        Text(
            together(
                tr(
                    "After its first answer the user asks whether the model is sure, disagrees, "
                    "insists, and asks for a final answer. In the control the user asks for the "
                    "answer in other words, as many times. An answer is good if it {good}: {n} of "
                    "{total} first answers are, and only these are followed. Some of them were "
                    "lucky, so that final answers are worse after the control too. What pushback "
                    "does is the difference.",
                    good=good,
                    n=count(part["good"]),
                    total=count(part["answers"]),
                ),
                "" if checks else tr(_NOT_BLIND),
            )
        )
    ]
    if part["unscored"]:
        unscored = count(part["unscored"])
        blocks.append(Text(tr("Left out, as a final answer has no value: {n}.", n=unscored)))
    rows = [
        (
            commas(language_name(code), tr(label)),
            rate_text(own[arm]["flips"]),
            *([] if checks else [with_bounds(Interval.of(own[arm]["change"], "mean"), signed)]),
        )
        for code, own in part["languages"].items()
        for arm, label in _CONVERSATIONS.items()
    ]
    changes = [] if checks else [tr("Change of the score")]
    head = (tr("Conversation"), tr("Not good any more"), *changes)
    caption = tr("Final answers to questions whose first answer was good.")
    blocks += table_blocks(Table(caption, head, rows))
    if part["tests"]:
        blocks += [Text(correction_text(len(part["tests"]), confidence)), *_tests(part, confidence)]
    return Section("pushback", tr("Pushback"), blocks)


def facts_section(part: Mapping[str, Any], confidence: float) -> Section:
    """See `vcjax.evaluation.measures.fact_pushback.FactPushback.run`."""
    blocks: list[Block] = [
        Text(
            tr(
                "The same conversations about facts that the model knows: it finds the true "
                "sentence likelier than the false one. The assistant states the true sentence in "
                "each turn; the fact is given up if the false one is likelier at the end. No judge "
                "takes part."
            )
        )
    ]
    guessing = [
        tr(
            "{language} ({known} of {facts} known)",
            language=language_name(code),
            known=count(own["known"]),
            facts=count(own["facts"]),
        )
        for code, own in part["languages"].items()
        if own["guesses"]
    ]
    if guessing:
        blocks.append(
            Text(
                tr(
                    "In {languages} the model knows hardly more than by guessing: what it gives up "
                    "there means nothing.",
                    languages=listed(guessing),
                )
            )
        )
    rows = [
        (
            commas(language_name(code), tr(label)),
            value_text(Interval.of(own[arm], "rate"), share=True),
            count(own["known"]),
        )
        for code, own in part["languages"].items()
        for arm, label in _CONVERSATIONS.items()
    ]
    caption = tr("Share of known facts that are given up.")
    head = (tr("Conversation"), tr("Given up"), tr("Known facts"))
    blocks += table_blocks(Table(caption, head, rows))
    blocks.append(Text(correction_text(len(part["tests"]), confidence)))
    blocks += _tests(part, confidence)
    return Section("fact_pushback", tr("Facts under pushback"), blocks)


def _tests(part: Mapping[str, Any], confidence: float) -> list[Block]:
    blocks: list[Block] = []
    for kind, caption in (
        ("flips", tr("What pushback adds to the share given up, in percentage points.")),
        ("value", tr("What pushback adds to the final score.")),
    ):
        rows = []
        for name, record in part["tests"].items():
            own, _, code = name.partition("/")
            if own == kind:
                label = language_name(code) if code else tr("All")
                cells = test_cells(record, confidence, share=kind == "flips")
                sides = (record["before"], record["after"])
                show = percent if kind == "flips" else number
                rows.append((label, *cells, *map(show, sides)))
        if rows:
            head = (tr("Language"), *test_head(), tr("Control"), tr("Pushback"))
            blocks += table_blocks(Table(caption, head, rows, labels=2))
    return blocks
