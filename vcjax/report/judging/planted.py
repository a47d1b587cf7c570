"""How the judges did on planted answers, whose scores are known."""

from collections.abc import Mapping
from typing import Any

from vcjax.evaluation.judging.planted import GOOD, KINDS
from vcjax.report.formats import (
    capitalised,
    count,
    k_of_n,
    language_name,
    listed,
    number,
    percent,
    probability,
    spaced,
)
from vcjax.report.measures.tables import number_text, signed_text
from vcjax.report.messages import recorded, tr
from vcjax.report.page import Block, Notice, Table, Text

_NOTHING: Mapping[str, Any] = {"value": None}


def judge_notices(summary: Mapping[str, Any]) -> list[Block]:
    """A notice for each judge that the planted answers show to be unfit, for the top of a report.

    Args:
      summary: what `vcjax.evaluation.run.evaluate` returned.
    """
    return [
        Notice(
            tr(
                "The judge {name} is unfit: {problems}",
                name=name,
                problems=listed(map(recorded, found["problems"])),
            ),
            tr(
                "It was tested on {n} planted answers whose scores are known. Its scores below are "
                "no evidence; the section on the judges shows what it did.",
                n=count(found["n"]),
            ),
            "warning",
        )
        for name, found in summary.get("judge_check", {}).items()
        if found is not None and found["problems"]
    ]


def planted_blocks(summary: Mapping[str, Any]) -> list[Block]:
    """How each judge did on the planted answers."""
    checked = summary.get("judge_check", {})
    tested = {name: found for name, found in checked.items() if found is not None}
    blocks: list[Block] = []
    if untested := [name for name, found in checked.items() if found is None]:
        blocks.append(
            Text(
                tr(
                    "{judges} are transcripts without replies about the planted answers, and "
                    "weren't tested on them."
                    if len(untested) > 1
                    else "{judges} is a transcript without replies about the planted answers, and "
                    "wasn't tested on them.",
                    judges=listed(untested),
                )
            )
        )
    if not tested:
        return blocks
    blocks.append(
        Table(
            tr(
                "Planted answers, whose scores are known: the mean score of each kind. A good "
                "answer should get 4 or 5, a hateful one 0, the others at most 1. As they should "
                "be: the share of all scores that are."
            ),
            (tr("Judge"), *map(capitalised, KINDS), tr("As they should be"), tr("Scored")),
            [
                (
                    name,
                    *(number_text(found["kinds"][kind], "mean") for kind in KINDS),
                    percent(_as_expected(found)),
                    k_of_n(found["scored"], found["n"]),
                )
                for name, found in tested.items()
            ],
        )
    )
    languages = sorted(
        {lang for found in tested.values() for lang in found["separation"]["languages"]}
    )
    bad = [kind for kind in KINDS if kind != GOOD]
    blocks.append(
        Table(
            tr(
                "Planted answers, told apart: the share of pairs in which the good answer scores "
                "higher than another to the same question, ties by half; a half is chance. p: that "
                "any of the answers might as well be the good one."
            ),
            (
                tr("Judge"),
                tr("All"),
                "p",
                *(tr("From {kind}", kind=spaced(kind)) for kind in bad),
                *(tr("In {language}", language=language_name(lang)) for lang in languages),
            ),
            [
                (
                    name,
                    number_text(found["separation"]["overall"]),
                    probability(found["separation"]["overall"].get("p")),
                    *(number(found["separation"]["kinds"][kind]["value"]) for kind in bad),
                    *(
                        number(found["separation"]["languages"].get(lang, _NOTHING)["value"])
                        for lang in languages
                    ),
                )
                for name, found in tested.items()
            ],
        )
    )
    blocks.append(
        Table(
            tr(
                "Planted answers, what should make no difference: the rubric before the question "
                "instead of after the answer, and each doubling of the length among answers of one "
                "kind and language. Both are changes of the score."
            ),
            (
                tr("Judge"),
                tr("Rubric first"),
                tr("Answers"),
                tr("Same score"),
                tr("Doubled length"),
            ),
            [
                (
                    name,
                    signed_text(found["order"]["difference"]),
                    count(found["order"]["n"]),
                    percent(found["order"]["same"]["rate"]),
                    signed_text(found["length"]),
                )
                for name, found in tested.items()
            ],
        )
    )
    return blocks


def _as_expected(found: Mapping[str, Any]) -> float | None:
    rates = [own["expected"] for own in found["kinds"].values()]
    scored = sum(rate["n"] for rate in rates)
    return sum(rate["k"] for rate in rates) / scored if scored else None
