"""What documents say about the claims of the answers, apart from the values they show."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.formats import capitalised, count, language_name, listed, number, percent
from vcjax.report.measures.tables import rate_text, table_blocks
from vcjax.report.page import Block, Notice, Section, Table, Text
from vcjax.stats.intervals import Interval

_CLASSES = ("supported", "contradicted", "unverifiable")
_LISTED = 20
"""Answers that the page lists; summary.json has all."""


def section(part: Mapping[str, Any], confidence: float) -> Section:
    """See `vcjax.evaluation.measures.factual.Factual.run`."""
    documents = part["documents"]
    blocks: list[Block] = [
        Text(
            "The judge lists what an answer claims about the world, then reads each claim beside "
            f"the {count(part['shown'])} passages that a search finds for it among "
            f"{count(documents['files'])} documents, and says whether these support it, contradict "
            "it or do neither. Unverifiable is not wrong: it is what these documents don't decide."
        )
    ]
    if documents["shipped"]:
        text = (
            "No folder of documents was named, so that the few shipped ones were searched. They "
            "are there to test the judge and say next to nothing about the questions."
        )
        blocks.append(Notice("The documents are the shipped ones.", text, "warning"))
    blocks += [
        *_shares(part),
        *_unscored(part),
        *_strong(part),
        *_planted(part),
        Text(
            f"Intervals are at {confidence:.0%}. Those of the shares count the claims of one "
            "answer as alike; the others are exact."
        ),
    ]
    return Section("factual", "Factual care", blocks)


def _shares(part: Mapping[str, Any]) -> list[Block]:
    rows = [
        (
            f"{language_name(code)}, {label}",
            Interval.of(own["classes"][label], "share").text(percent, "{} ({} to {})"),
            f"{count(own['classes'][label]['k'])} of {count(own['claims'])}",
            count(own["answers"]),
            count(own["without"]),
        )
        for code, own in part["languages"].items()
        for label in _CLASSES
    ]
    head = ("Claims", "Share", "Number", "Answers", "Of these, without a claim")
    return table_blocks(Table("Claims of the answers, by what the documents say.", head, rows))


def _unscored(part: Mapping[str, Any]) -> list[Block]:
    texts = {
        "answers": "Answers whose claims the judge didn't list, which are left out",
        "claims": "Claims that got no verdict, which are left out",
    }
    return [
        Text(
            f"{text}: {listed(f'{count(k)} ({why})' for why, k in part['unscored'][name].items())}."
        )
        for name, text in texts.items()
        if part["unscored"][name]
    ]


def _strong(part: Mapping[str, Any]) -> list[Block]:
    least = number(part["strong"], 0)
    rows = [
        (language_name(code), rate_text(record)) for code, record in part["strong_answers"].items()
    ]
    caption = (
        f"Strong values, wrong facts: answers with a score of {least} or more, and claims that "
        "were checked, of which a document contradicts at least one."
    )
    blocks: list[Block] = [Table(caption, ("Language", "Share of such answers"), rows)]
    found = part["listed"]
    if not found:
        return [*blocks, Text("There is no such answer.")]
    lines = [
        (
            answer["id"],
            number(answer["score"], 1),
            claim["claim"],
            f"{claim['reason']} ({listed(claim['documents'])})",
        )
        for answer in found[:_LISTED]
        for claim in answer["claims"]
    ]
    caption = "The contradicted claims of these answers, and the judge's reason."
    if len(found) > _LISTED:
        caption += f" The first {_LISTED} of {count(len(found))} answers; summary.json has all."
    head = ("Answer", "Score", "Claim", "Reason, and the documents shown")
    return [*blocks, Table(caption, head, lines, labels=4)]


def _planted(part: Mapping[str, Any]) -> list[Block]:
    planted = part["planted"]
    rows = [
        (f"{language_name(code)}, {label}", rate_text(own[label]))
        for code, own in planted["labels"].items()
        for label in _CLASSES
    ]
    found = listed(
        f"{rate_text(record)} in {language_name(code)}"
        for code, record in planted["search"].items()
    )
    low = [
        f"{language_name(code)}, {label}"
        for code, own in planted["labels"].items()
        for label in _CLASSES
        if (own[label]["rate"] or 0.0) <= 1 / len(_CLASSES)
    ]
    blocks: list[Block] = [
        Table(
            "How far this can be trusted: shipped claims of which the answer is known, and the "
            "share to which the judge gives it.",
            ("Claims", "Recall"),
            rows,
        ),
        Text(
            f"The search alone, without a judge: a document that decides the claim is among the "
            f"{count(part['shown'])} passages shown for {found}."
        ),
    ]
    if low:
        text = f"It finds no more than guessing would of: {capitalised(listed(low))}."
        blocks.insert(0, Notice("The judge can't check claims.", text, "warning"))
    return blocks
