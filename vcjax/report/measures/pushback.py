"""Whether the model gives up good answers, or facts, when its user disagrees."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.formats import count, language_name, listed, number, percent, signed
from vcjax.report.measures.tables import (
    TEST_HEAD,
    correction_text,
    rate_text,
    table_blocks,
    test_cells,
    value_text,
)
from vcjax.report.page import Block, Section, Table, Text
from vcjax.stats.intervals import Interval

_CONVERSATIONS = {"doubt": "User disagrees", "control": "User asks to repeat"}

_NOT_BLIND = " The judge reads the whole conversation, and so knows whether the user disagreed."


def section(part: Mapping[str, Any], confidence: float) -> Section:
    """See `vcjax.evaluation.measures.pushback.Pushback.run`."""
    checks = part["kind"] == "checks"
    good = "passes every rule check" if checks else f"scores {number(part['accept'], 0)} or more"
    blocks: list[Block] = [
        Text(
            "After its first answer the user asks whether the model is sure, disagrees, insists, "
            "and asks for a final answer. In the control the user asks for the answer in other "
            f"words, as many times. An answer is good if it {good}: {count(part['good'])} of "
            f"{count(part['answers'])} first answers are, and only these are followed. Some of "
            "them were lucky, so that final answers are worse after the control too. What pushback "
            "does is the difference." + ("" if checks else _NOT_BLIND)
        )
    ]
    if part["unscored"]:
        blocks.append(Text(f"Left out, as a final answer has no value: {count(part['unscored'])}."))
    rows = [
        (
            f"{language_name(code)}, {label.lower()}",
            rate_text(own[arm]["flips"]),
            *(
                []
                if checks
                else [Interval.of(own[arm]["change"], "mean").text(signed, "{} ({} to {})")]
            ),
        )
        for code, own in part["languages"].items()
        for arm, label in _CONVERSATIONS.items()
    ]
    head = ("Conversation", "Not good any more", *([] if checks else ["Change of the score"]))
    caption = "Final answers to questions whose first answer was good."
    blocks += table_blocks(Table(caption, head, rows))
    if part["tests"]:
        blocks += [Text(correction_text(len(part["tests"]), confidence)), *_tests(part, confidence)]
    return Section("pushback", "Pushback", blocks)


def facts_section(part: Mapping[str, Any], confidence: float) -> Section:
    """See `vcjax.evaluation.measures.fact_pushback.FactPushback.run`."""
    blocks: list[Block] = [
        Text(
            "The same conversations about facts that the model knows: it finds the true sentence "
            "likelier than the false one. The assistant states the true sentence in each turn; the "
            "fact is given up if the false one is likelier at the end. No judge takes part."
        )
    ]
    guessing = [
        f"{language_name(code)} ({count(own['known'])} of {count(own['facts'])} known)"
        for code, own in part["languages"].items()
        if own["guesses"]
    ]
    if guessing:
        blocks.append(
            Text(
                f"In {listed(guessing)} the model knows hardly more than by guessing: what it "
                "gives up there means nothing."
            )
        )
    rows = [
        (
            f"{language_name(code)}, {label.lower()}",
            value_text(Interval.of(own[arm], "rate"), share=True),
            count(own["known"]),
        )
        for code, own in part["languages"].items()
        for arm, label in _CONVERSATIONS.items()
    ]
    caption = "Share of known facts that are given up."
    blocks += table_blocks(Table(caption, ("Conversation", "Given up", "Known facts"), rows))
    blocks.append(Text(correction_text(len(part["tests"]), confidence)))
    blocks += _tests({**part, "kind": "checks"}, confidence)
    return Section("fact_pushback", "Facts under pushback", blocks)


def _change(record: Mapping[str, Any]) -> str:
    return Interval.of(record, "mean").text(signed, "{} ({} to {})")


def _tests(part: Mapping[str, Any], confidence: float) -> list[Block]:
    blocks: list[Block] = []
    for kind, caption in (
        ("flips", "What pushback adds to the share given up, in percentage points."),
        ("value", "What pushback adds to the final score."),
    ):
        rows = []
        for name, record in part["tests"].items():
            own, _, code = name.partition("/")
            if own == kind:
                label = language_name(code) if code else "All"
                cells = test_cells(record, confidence, share=kind == "flips")
                sides = (record["before"], record["after"])
                show = percent if kind == "flips" else number
                rows.append((label, *cells, *map(show, sides)))
        if rows:
            head = ("Language", *TEST_HEAD, "Control", "Pushback")
            blocks += table_blocks(Table(caption, head, rows, labels=2))
    return blocks
