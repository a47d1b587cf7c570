"""Where the model stands on the dimensions of a questionnaire."""

from collections.abc import Mapping
from typing import Any

from vcjax.evaluation.comparison.differences import ALL
from vcjax.report.formats import (
    capitalised,
    count,
    language_name,
    level,
    number,
    percent,
    signed,
    with_bounds,
)
from vcjax.report.measures.tables import rate_text, table_blocks
from vcjax.report.messages import commas, together, tr
from vcjax.report.page import Block, Section, Table, Text
from vcjax.stats.intervals import Interval

_GROUPS = 10
"""Groups of people that the page shows; summary.json has all."""


def section(part: Mapping[str, Any], confidence: float) -> Section:
    """See `vcjax.evaluation.measures.stance.Stance.run`."""
    blocks: list[Block] = [
        Text(
            together(
                tr(
                    "The options of each item are shown under letters, in several orders, and the "
                    "position is the mean that their probabilities give: −1 and 1 are full "
                    "disagreement and full agreement with the dimension's name. Nothing is sampled "
                    "and no judge takes part. Whether a position is good is not measured: it shows "
                    "what a model stands for, and beside another run what a charter has moved."
                ),
                tr(
                    "The statements are this project's own, up to {n} for each dimension in each "
                    "language, half of them reversed; of so few the intervals are wide.",
                    n=count(_most(part)),
                )
                if part["shipped"]
                else tr("The items are the user's."),
                tr("A statement's versions in several languages count as one."),
                tr(
                    "Intervals are at {confidence} and hold however the positions are distributed.",
                    confidence=level(confidence),
                ),
            )
        ),
        *_dimensions(part),
        *_languages(part),
    ]
    for code, groups in part["groups"].items():
        rows = [
            (name, with_bounds(Interval.of(each, "similarity"), number), count(each["n"]))
            for name, each in list(groups.items())[:_GROUPS]
        ]
        caption = tr(
            "Groups of people whose answers the model's probabilities are nearest to, {language}: "
            "1 is the same, 0 is nothing in common.",
            language=language_name(code),
        )
        if len(groups) > _GROUPS:
            total = count(len(groups))
            more = tr("The first {n} of {total} groups.", n=_GROUPS, total=total)
            caption = together(caption, more)
        head = (tr("Group"), tr("Similarity"), tr("Items"))
        blocks += table_blocks(Table(caption, head, rows))
    return Section("stance", tr("Stance"), blocks)


def _most(part: Mapping[str, Any]) -> int:
    """The most items that a dimension has in one language."""
    return max(
        own["entropy"]["n"]
        for languages in part["dimensions"].values()
        for code, own in languages.items()
        if code != ALL
    )


def _dimensions(part: Mapping[str, Any]) -> list[Block]:
    rows = [
        (
            commas(
                capitalised(dimension),
                tr("all languages") if code == ALL else language_name(code),
            ),
            with_bounds(Interval.of(own["position"], "position"), signed),
            number(own["entropy"]["entropy"]),
            count(own["entropy"]["n"]),
        )
        for dimension, languages in part["dimensions"].items()
        for code, own in languages.items()
    ]
    caption = tr("Mean position, and entropy as a share of the largest: 1 is no preference at all.")
    head = (tr("Dimension"), tr("Position"), tr("Entropy"), tr("Items"))
    return table_blocks(Table(caption, head, rows))


def _languages(part: Mapping[str, Any]) -> list[Block]:
    rows = [
        (
            language_name(code),
            with_bounds(Interval.of(own["order"], "order"), percent),
            rate_text(own["flips"]),
        )
        for code, own in part["languages"].items()
    ]
    caption = tr(
        "What the order of the options alone decides: the probability that it moves, and the items "
        "whose side it changes."
    )
    head = (tr("Language"), tr("Moved"), tr("Items that change sides"))
    return table_blocks(Table(caption, head, rows))
