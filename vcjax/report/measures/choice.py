"""Accuracy on multiple choice, and which letters are chosen."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.formats import capitalised, count, language_name, level, percent
from vcjax.report.measures.tables import rate_text, table_blocks
from vcjax.report.messages import tr
from vcjax.report.page import Block, Section, Table, Text


def section(part: Mapping[str, Any], confidence: float) -> Section:
    """See `vcjax.evaluation.measures.choice.summarise`."""
    languages = part["languages"]
    rows = [
        (language_name(code), rate_text(own["accuracy"]), percent(own["guessing"]))
        for code, own in languages.items()
    ]
    blocks: list[Block] = [
        Text(
            tr(
                "The model is shown each question with its options under letters; its answer is "
                "the letter that it finds the most probable. Nothing is sampled and no judge takes "
                "part. Intervals are exact, at {confidence}.",
                confidence=level(confidence),
            )
        ),
        Table(tr("Accuracy by language."), (tr("Language"), tr("Right"), tr("By guessing")), rows),
    ]
    for code, own in languages.items():
        cells = {
            category: each[code] for category, each in part["categories"].items() if code in each
        }
        if len(cells) > 1:
            rows = [
                (capitalised(category), rate_text(record)) for category, record in cells.items()
            ]
            caption = tr("Accuracy by category, {language}.", language=language_name(code))
            blocks += table_blocks(Table(caption, (tr("Category"), tr("Right")), rows))
        letters = [
            (letter, count(each["chosen"]), count(each["right"]))
            for letter, each in own["letters"].items()
        ]
        caption = tr(
            "How often each letter is chosen and how often it is right, {language}: a model that "
            "knows nothing often prefers a letter.",
            language=language_name(code),
        )
        head = (tr("Letter"), tr("Chosen"), tr("Right"))
        blocks += table_blocks(Table(caption, head, letters))
    return Section("choice", tr("Multiple choice"), blocks)
