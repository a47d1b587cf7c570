"""The verdict on compared runs, for the report and for a terminal."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.changes import TONES
from vcjax.report.comparison.wording import (
    SUBJECTS,
    language,
    of_languages,
    size,
    unit_of,
)
from vcjax.report.formats import bounds, count, listed, probability
from vcjax.report.page import Block, Notice, Text
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import MINIMUM_PAIRS, TOO_FEW


def comparison_lines(comparison: Mapping[str, Any]) -> list[str]:
    """The verdict, for a terminal: a line for each run, language and measure."""
    lines = [f"{run['name']}: {text}" for run in comparison["runs"] for text in run["problems"]]
    lines += comparison["notes"]
    for name, lang, measure, record in of_languages(comparison):
        subject = SUBJECTS[measure].lower()
        lines.append(f"{name}, {language(lang)}: {sentence(comparison, subject, measure, record)}")
    return lines


def verdict(comparison: Mapping[str, Any]) -> list[Block]:
    level = f"{comparison['confidence']:.0%}"
    families = comparison["families"]
    blocks: list[Block] = [
        Text(
            "Read from the paired differences alone. The words “higher” and “lower” follow p "
            f"corrected by Holm's method: {_families(families)}. Where nothing changed, all of the "
            f"report is without these words with a probability of {level} or more. Every interval "
            "is by itself."
        )
    ]
    for name, lang, measure, record in of_languages(comparison):
        subject = SUBJECTS[measure]
        title = f"{name}, {language(lang)}, {'judge' if measure == 'judge' else 'rule checks'}"
        text = sentence(comparison, subject, measure, record) + "."
        if measure == "judge":
            text += _unscored(comparison, record)
        read = record["reading"]
        blocks.append(Notice(f"{title}: {read}", text, TONES[read]))
    if not families:
        blocks.append(
            Notice("The judge gave every answer the same score: nothing can be compared", "")
        )
    if (changed := _changed_domains(comparison)) is not None:
        blocks.append(Text(changed))
    if len(comparison["runs"]) > 2:
        first = comparison["runs"][0]["name"]
        blocks.append(
            Text(
                f"Each run is compared with {first} alone. Two others that differ from it in other "
                "ways aren't thereby different from one another: nothing here ranks them. Name one "
                "of them first to compare it with the rest."
            )
        )
    return blocks


def _families(families: Mapping[str, Any]) -> str:
    what = {
        "languages": "changes by language and in all languages",
        "domains": "changes by domain, in each language and in all of them",
    }
    parts = [f"{count(own['tests'])} {what[name]}" for name, own in families.items()]
    shared = ", which have half of the rate of false alarms each" if len(parts) > 1 else ""
    return listed(parts) + shared if parts else "none were tested"


def sentence(
    comparison: Mapping[str, Any], subject: str, measure: str, record: Mapping[str, Any]
) -> str:
    difference, read = Interval.of(record, "difference"), record["reading"]
    if read == TOO_FEW:
        return (
            f"{subject}: {read} ({count(difference.n)} questions have a value in both runs; at "
            f"least {MINIMUM_PAIRS} are needed)"
        )
    show, unit = unit_of(comparison, measure)
    least = record["detectable"]
    found = (
        f"a change of {size(comparison, measure, least)}{unit} would have been found"
        if least is not None
        else "no change, however large, would have been found"
    )
    return (
        f"{subject}: {read} ({show(difference.value)}{unit}, {comparison['confidence']:.0%} "
        f"interval {bounds(difference, show)}, corrected p "
        f"{probability(record['p_corrected'])}; with a probability of {comparison['power']:.0%} "
        f"{found})"
    )


def _unscored(comparison: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    if not record["unpaired"] or record["unscored_against"] is None:
        return ""
    show, _ = unit_of(comparison, "judge")
    worst, best = (show(record[f"unscored_{side}"]) for side in ("against", "for"))
    return (
        f" {count(record['unpaired'])} questions lack a score in one run or both and are left out: "
        f"were all of these scored as badly as can be for this run, the difference would be "
        f"{worst}, and as well as can be, {best}."
    )


def _changed_domains(comparison: Mapping[str, Any]) -> str | None:
    """Where the domains changed, as a sentence."""
    if "domains" not in comparison["families"]:
        return None
    found = []
    for name, own in comparison["comparisons"].items():
        for domain, languages in own["domains"].items():
            for lang, parts in languages.items():
                for measure in comparison["measures"]:
                    read = parts[measure].get("reading")
                    if read in ("higher", "lower"):
                        found.append(f"{domain} ({name}, {language(lang)}: {read})")
    if not found:
        return "By domain: no clear change in any."
    return f"By domain: {listed(found)}."
