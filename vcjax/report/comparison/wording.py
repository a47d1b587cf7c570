"""How the report on compared runs names measures, languages and sizes."""

from collections.abc import Iterator, Mapping
from typing import Any

from vcjax.charter.load import load_charter
from vcjax.evaluation.comparison.differences import ALL
from vcjax.evaluation.comparison.logs.samples import ANY_LANGUAGE
from vcjax.evaluation.comparison.options import CHOICE, STANCE
from vcjax.report.formats import (
    DASH,
    capitalised,
    language_name,
    number,
    points,
    signed,
    with_bounds,
)
from vcjax.report.messages import commas, message, tr
from vcjax.stats.intervals import Interval

SUBJECTS = {
    "judge": message("Mean score"),
    "all_checks": message("Answers that pass every rule check"),
    CHOICE: message("Right on multiple choice"),
}


def of_languages(
    comparison: Mapping[str, Any],
) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """Run, language, measure and record of each difference in the family `languages`."""
    for name, own in comparison["comparisons"].items():
        langs = list(own["languages"])
        # Of a single language, all languages together would be the same once more.
        for lang in [*([ALL] if len(langs) > 1 else []), *langs]:
            parts = own[ALL] if lang == ALL else own["languages"][lang]
            for measure in comparison["measures"]:
                if "reading" in parts[measure]:
                    yield name, lang, measure, parts[measure]


def of_stances(comparison: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Run, dimension with its language, and record of each shift of stance."""
    for name, own in comparison["comparisons"].items():
        for dimension, languages in own.get(STANCE, {}).items():
            for lang, record in languages.items():
                yield name, commas(capitalised(dimension), language(lang)), record


def of_choices(comparison: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Run, language and record of each change of the accuracy on multiple choice."""
    for name, own in comparison["comparisons"].items():
        for lang, record in own.get(CHOICE, {"languages": {}})["languages"].items():
            yield name, lang, record


def languages_of(own: Mapping[str, Any]) -> list[str]:
    langs = list(own["languages"])
    return [ALL, *langs] if len(langs) > 1 else langs


def language(lang: str) -> str:
    if lang == ANY_LANGUAGE:
        return tr("all questions")
    return tr("all languages") if lang == ALL else language_name(lang)


def run_in(name: str, lang: str) -> str:
    """`aligned, Chinese`."""
    return commas(name, language(lang))


def shown_as(comparison: Mapping[str, Any], measure: str) -> Any:
    """What formats a difference."""
    return points if is_share(comparison, measure) else signed


def with_unit(comparison: Mapping[str, Any], measure: str, change: str) -> str:
    """`+3.0 points`, or a difference of scores as it is."""
    return tr("{change} points", change=change) if is_share(comparison, measure) else change


def beside_the_paper(comparison: Mapping[str, Any]) -> bool:
    """Whether the paper's totals stand beside the scores: where these are of its scale, and of
    questions on one of its domains, which are the shipped ones. They say nothing beside others."""
    asked = {
        domain for own in comparison["table"]["languages"].values() for domain in own["domains"]
    }
    return (
        comparison["table"]["measure"] == "judge"
        and comparison["scale"] == [0, 5]
        and not asked.isdisjoint(each.id for each in load_charter("vcllm").subdomains())
    )


def is_share(comparison: Mapping[str, Any], measure: str) -> bool:
    if measure == STANCE:
        return False
    return measure != "judge" or comparison["scale"] == [0, 1]


def captioned(comparison: Mapping[str, Any], measure: str, title: str) -> str:
    """A caption that names the unit of shares."""
    if is_share(comparison, measure):
        return tr("{title}, in percentage points.", title=title)
    return tr("{title}.", title=title)


def size(comparison: Mapping[str, Any], measure: str, value: float | None) -> str:
    if value is None:
        return DASH
    return number(100 * value, 1) if is_share(comparison, measure) else number(value)


def odds(record: Mapping[str, Any]) -> str:
    # Nothing was lost, so that the ratio has no bound; or nothing has changed, and there is none.
    if record["ratio"] is None:
        return "∞" if record["n"] else DASH
    bounds_ = Interval.of({**record, "n": record["n"]}, "ratio")
    return with_bounds(bounds_, number)
