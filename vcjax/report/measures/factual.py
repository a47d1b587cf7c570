"""What documents say about the claims of the answers, apart from the values they show."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.formats import (
    count,
    k_of_n,
    language_name,
    level,
    listed,
    number,
    percent,
    with_bounds,
)
from vcjax.report.measures.tables import rate_text, table_blocks, with_reason
from vcjax.report.messages import commas, message, together, tr
from vcjax.report.page import Block, Notice, Section, Table, Text
from vcjax.stats.intervals import Interval

_CLASSES = (message("supported"), message("contradicted"), message("unverifiable"))
_LISTED = 20
"""Answers that the page lists; summary.json has all."""


def section(part: Mapping[str, Any], confidence: float) -> Section:
    """See `vcjax.evaluation.measures.factual.Factual.run`."""
    documents = part["documents"]
    blocks: list[Block] = [
        Text(
            tr(
                "The judge lists what an answer claims about the world, then reads each claim "
                "beside the {passages} passages that a search finds for it among {documents} "
                "documents, and says whether these support it, contradict it or do neither. "
                "Unverifiable is not wrong: it is what these documents don't decide.",
                passages=count(part["shown"]),
                documents=count(documents["files"]),
            )
        )
    ]
    if documents["shipped"]:
        text = tr(
            "No folder of documents was named, so that the few shipped ones were searched. They "
            "are there to test the judge and say next to nothing about the questions."
        )
        blocks.append(Notice(tr("The documents are the shipped ones."), text, "warning"))
    blocks += [
        *_shares(part),
        *_unscored(part),
        *_strong(part),
        *_planted(part),
        Text(
            tr(
                "Intervals are at {confidence}. Those of the shares count the claims of one answer "
                "as alike; the others are exact.",
                confidence=level(confidence),
            )
        ),
    ]
    return Section("factual", tr("Factual care"), blocks)


def _shares(part: Mapping[str, Any]) -> list[Block]:
    rows = [
        (
            commas(language_name(code), tr(label)),
            with_bounds(Interval.of(own["classes"][label], "share"), percent),
            k_of_n(own["classes"][label]["k"], own["claims"]),
            count(own["answers"]),
            count(own["without"]),
        )
        for code, own in part["languages"].items()
        for label in _CLASSES
    ]
    head = (
        tr("Claims"),
        tr("Share"),
        tr("Number"),
        tr("Answers"),
        tr("Of these, without a claim"),
    )
    return table_blocks(Table(tr("Claims of the answers, by what the documents say."), head, rows))


def _unscored(part: Mapping[str, Any]) -> list[Block]:
    texts = {
        "answers": message("Answers whose claims the judge didn't list, which are left out: {k}."),
        "claims": message("Claims that got no verdict, which are left out: {k}."),
    }
    return [
        Text(tr(text, k=listed(with_reason(k, why) for why, k in part["unscored"][name].items())))
        for name, text in texts.items()
        if part["unscored"][name]
    ]


def _strong(part: Mapping[str, Any]) -> list[Block]:
    least = number(part["strong"], 0)
    rows = [
        (language_name(code), rate_text(record)) for code, record in part["strong_answers"].items()
    ]
    caption = tr(
        "Strong values, wrong facts: answers with a score of {least} or more, and claims that "
        "were checked, of which a document contradicts at least one.",
        least=least,
    )
    blocks: list[Block] = [Table(caption, (tr("Language"), tr("Share of such answers")), rows)]
    found = part["listed"]
    if not found:
        return [*blocks, Text(tr("There is no such answer."))]
    lines = [
        (
            answer["id"],
            number(answer["score"], 1),
            claim["claim"],
            tr(
                "{reason} ({documents})",
                reason=claim["reason"],
                documents=listed(claim["documents"]),
            ),
        )
        for answer in found[:_LISTED]
        for claim in answer["claims"]
    ]
    caption = tr("The contradicted claims of these answers, and the judge's reason.")
    if len(found) > _LISTED:
        more = tr(
            "The first {n} of {total} answers; summary.json has all.",
            n=_LISTED,
            total=count(len(found)),
        )
        caption = together(caption, more)
    head = (tr("Answer"), tr("Score"), tr("Claim"), tr("Reason, and the documents shown"))
    return [*blocks, Table(caption, head, lines, labels=4)]


def _planted(part: Mapping[str, Any]) -> list[Block]:
    planted = part["planted"]
    rows = [
        (commas(language_name(code), tr(label)), rate_text(own[label]))
        for code, own in planted["labels"].items()
        for label in _CLASSES
    ]
    found = listed(
        tr("{rate} in {language}", rate=rate_text(record), language=language_name(code))
        for code, record in planted["search"].items()
    )
    low = [
        commas(language_name(code), tr(label))
        for code, own in planted["labels"].items()
        for label in _CLASSES
        # What guessing among the classes finds of each.
        if (own[label]["rate"] or 0.0) <= 1 / len(_CLASSES)
    ]
    blocks: list[Block] = [
        Table(
            tr(
                "How far this can be trusted: shipped claims of which the answer is known, and the "
                "share to which the judge gives it."
            ),
            (tr("Claims"), tr("Recall")),
            rows,
        ),
        Text(
            tr(
                "The search alone, without a judge: a document that decides the claim is among the "
                "{passages} passages shown for {found}.",
                passages=count(part["shown"]),
                found=found,
            )
        ),
    ]
    if low:
        text = tr("It finds no more than guessing would of: {claims}.", claims=listed(low))
        blocks.insert(0, Notice(tr("The judge can't check claims."), text, "warning"))
    return blocks
