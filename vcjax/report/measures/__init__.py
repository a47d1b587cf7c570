"""Sections of the report, one for each measure: `<measure>.py` has `section(part, confidence)`.

A part is what `Measure.run` returned, with the tests corrected (`vcjax.evaluation.measures.run`).
"""

from collections.abc import Callable, Mapping
from typing import Any

from vcjax.report.measures import choice, consistency, factual, faking, pushback, refusal, stance
from vcjax.report.page import Section

Part = Mapping[str, Any]

SECTIONS: dict[str, Callable[[Part, float], Section]] = {
    "consistency": consistency.section,
    "pushback": pushback.section,
    "fact_pushback": pushback.facts_section,
    "refusal": refusal.section,
    "faking": faking.section,
    "factual": factual.section,
    "stance": stance.section,
    "choice": choice.section,
}


def measure_sections(summary: Mapping[str, Any]) -> list[Section]:
    """The sections of the measures in the summary of an evaluation, in its order."""
    parts = summary.get("measures", {})
    return [SECTIONS[name](part, summary["confidence"]) for name, part in parts.items()]
