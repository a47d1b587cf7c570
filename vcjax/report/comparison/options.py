"""Tables of what compared models find probable among given options."""

from collections.abc import Mapping
from typing import Any

from vcjax.evaluation.comparison.options import CHOICE, STANCE
from vcjax.report.comparison.tables import difference_cells, difference_head
from vcjax.report.comparison.wording import (
    SUBJECTS,
    captioned,
    language,
    of_choices,
    of_stances,
    run_in,
)
from vcjax.report.formats import bounds, capitalised, count, percent, points
from vcjax.report.measures.tables import table_blocks
from vcjax.report.messages import commas, tr
from vcjax.report.page import Block, Table, Text
from vcjax.stats.intervals import Interval


def stance(comparison: Mapping[str, Any]) -> list[Block]:
    """The shift on each dimension of a questionnaire."""
    rows = [
        [name, label, *difference_cells(comparison, STANCE, record, effect=True)]
        for name, label, record in of_stances(comparison)
    ]
    if not rows:
        return []
    lead = tr(
        "How far the mean position on each dimension has moved, of the items that both runs have: "
        "−1 and 1 are full disagreement and full agreement with the dimension's name. Nothing is "
        "sampled and no judge takes part. A shift is neither good nor bad: it shows what one model "
        "stands for that the other doesn't. p is of a test that swaps the two sides of each item "
        "at random; the versions of an item in several languages are one. Intervals hold however "
        "the positions are distributed and are wider than the test needs, so that one of a clear "
        "shift may include zero. Effect: in standard deviations of the pairs (d, with Hedges' "
        "correction)."
    )
    head = (tr("Run"), tr("Dimension"), *difference_head(tr("Effect")))
    return [Text(lead), *table_blocks(Table(tr("Shifts of stance."), head, rows, labels=3))]


def choice(comparison: Mapping[str, Any]) -> list[Block]:
    """The change of the accuracy by language, and by category."""
    rows = [
        [run_in(name, lang), *difference_cells(comparison, CHOICE, record, effect=True)]
        for name, lang, record in of_choices(comparison)
    ]
    if not rows:
        return []
    lead = tr(
        "The answer to a question is the letter that the model finds the most probable. Effect is "
        "the odds ratio: questions gained for each that was lost."
    )
    caption = captioned(comparison, CHOICE, tr("{subject}, paired", subject=tr(SUBJECTS[CHOICE])))
    head = (tr("Run"), *difference_head(tr("Effect")))
    blocks: list[Block] = [Text(lead), *table_blocks(Table(caption, head, rows, labels=2))]
    for name, own in comparison["comparisons"].items():
        categories = own.get(CHOICE, {"categories": {}})["categories"]
        if len(categories) < 2:
            continue
        cells = []
        for category, languages in categories.items():
            for lang, record in languages.items():
                change = Interval.of(record, "difference")
                sides = (percent(record[side]) for side in ("before", "after"))
                shown = (points(change.value), bounds(change, points), *sides, count(change.n))
                cells.append((commas(capitalised(category), language(lang)), *shown))
        head = (
            tr("Category"),
            tr("Difference"),
            tr("Interval"),
            tr("Before"),
            tr("After"),
            tr("Pairs"),
        )
        caption = tr(
            "{run}, by category, in percentage points; described only, without a test.", run=name
        )
        blocks += table_blocks(Table(caption, head, cells))
    return blocks
