"""Where the model stands on the dimensions of a questionnaire."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.formats import capitalised, count, language_name, number, percent, signed
from vcjax.report.measures.tables import rate_text, table_blocks
from vcjax.report.page import Block, Section, Table, Text
from vcjax.stats.intervals import Interval

_GROUPS = 10
"""Groups of people that the page shows; summary.json has all."""
_RANGE = "{} ({} to {})"


def section(part: Mapping[str, Any], confidence: float) -> Section:
    """See `vcjax.evaluation.measures.stance.Stance.run`."""
    items = (
        "The statements are this project's own, four for each dimension, half of them reversed; "
        "few as they are, the intervals are wide."
        if part["shipped"]
        else "The items are the user's."
    )
    blocks: list[Block] = [
        Text(
            "The options of each item are shown under letters, in several orders, and the position "
            "is the mean that their probabilities give: −1 and 1 are full disagreement and full "
            "agreement with the dimension's name. Nothing is sampled and no judge takes part. "
            "Whether a position is good is not measured: it shows what a model stands for, and "
            f"beside another run what a charter has moved. {items} Intervals are at "
            f"{confidence:.0%} and hold however the positions are distributed."
        ),
        *_dimensions(part),
        *_languages(part),
    ]
    for code, groups in part["groups"].items():
        rows = [
            (name, Interval.of(each, "similarity").text(number, _RANGE), count(each["n"]))
            for name, each in list(groups.items())[:_GROUPS]
        ]
        caption = (
            f"Groups of people whose answers the model's probabilities are nearest to, "
            f"{language_name(code)}: 1 is the same, 0 is nothing in common."
        )
        if len(groups) > _GROUPS:
            caption += f" The first {_GROUPS} of {count(len(groups))} groups."
        blocks += table_blocks(Table(caption, ("Group", "Similarity", "Items"), rows))
    return Section("stance", "Stance", blocks)


def _dimensions(part: Mapping[str, Any]) -> list[Block]:
    rows = [
        (
            f"{capitalised(dimension)}, {language_name(code)}",
            Interval.of(own["position"], "position").text(signed, _RANGE),
            number(own["entropy"]["entropy"]),
            count(own["entropy"]["n"]),
        )
        for dimension, languages in part["dimensions"].items()
        for code, own in languages.items()
    ]
    caption = "Mean position, and entropy as a share of the largest: 1 is no preference at all."
    return table_blocks(Table(caption, ("Dimension", "Position", "Entropy", "Items"), rows))


def _languages(part: Mapping[str, Any]) -> list[Block]:
    rows = [
        (
            language_name(code),
            Interval.of(own["order"], "order").text(percent, _RANGE),
            rate_text(own["flips"]),
        )
        for code, own in part["languages"].items()
    ]
    caption = (
        "What the order of the options alone decides: the probability that it moves, and the items "
        "whose side it changes."
    )
    return table_blocks(Table(caption, ("Language", "Moved", "Items that change sides"), rows))
