"""The verdict on compared runs, for the report and for a terminal."""

from collections.abc import Mapping
from typing import Any

from vcjax.evaluation.comparison.options import CHOICE, STANCE
from vcjax.report.changes import TONES
from vcjax.report.comparison.wording import (
    SUBJECTS,
    language,
    of_choices,
    of_languages,
    of_stances,
    run_in,
    shown_as,
    size,
    with_unit,
)
from vcjax.report.formats import bounds, capitalised, count, level, listed, probability
from vcjax.report.messages import commas, message, recorded, together, tr
from vcjax.report.page import Block, Notice, Text
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import MINIMUM_PAIRS, NO_CHANGE, TOO_FEW

_FAMILIES = {
    "languages": message("{n} changes by language and in all languages"),
    "domains": message("{n} changes by domain, in each language and in all of them"),
    STANCE: message("{n} shifts of stance by dimension, in each language and in all of them"),
    CHOICE: message("{n} changes of the accuracy on multiple choice by language"),
}


def comparison_lines(comparison: Mapping[str, Any]) -> list[str]:
    """The verdict, for a terminal: a line for each run, language and measure."""
    lines = [f"{run['name']}: {text}" for run in comparison["runs"] for text in run["problems"]]
    lines += comparison["notes"]
    for name, lang, measure, record in of_languages(comparison):
        stated = sentence(comparison, SUBJECTS[measure].lower(), measure, record)
        lines.append(f"{run_in(name, lang)}: {stated}")
    for name, lang, record in of_choices(comparison):
        stated = sentence(comparison, SUBJECTS[CHOICE].lower(), CHOICE, record)
        lines.append(f"{run_in(name, lang)}: {stated}")
    for name, label, record in of_stances(comparison):
        lines.append(f"{name}: {sentence(comparison, label, STANCE, record)}")
    return lines


def verdict(comparison: Mapping[str, Any]) -> list[Block]:
    families = comparison["families"]
    blocks: list[Block] = [
        Text(
            tr(
                "Read from the paired differences alone. The words “higher” and “lower” follow p "
                "corrected by Holm's method: {families}. Where nothing changed, all of the report "
                "is without these words with a probability of {confidence} or more. Every interval "
                "is by itself.",
                families=_families(families),
                confidence=level(comparison["confidence"]),
            )
        )
    ]
    for name, lang, measure, record in of_languages(comparison):
        scored = measure == "judge"
        what = commas(run_in(name, lang), tr("judge" if scored else "rule checks"))
        title = tr("{subject}: {finding}", subject=what, finding=recorded(record["reading"]))
        stated = sentence(comparison, tr(SUBJECTS[measure]), measure, record)
        text = together(
            tr("{sentence}.", sentence=stated), _unscored(comparison, record) if scored else ""
        )
        blocks.append(Notice(title, text, TONES[record["reading"]]))
    if not blocks[1:]:
        nothing = tr("The judge gave every answer the same score: nothing can be compared")
        blocks.append(Notice(nothing, ""))
    for name, lang, record in of_choices(comparison):
        what, read = commas(run_in(name, lang), tr("multiple choice")), record["reading"]
        title = tr("{subject}: {finding}", subject=what, finding=recorded(read))
        stated = sentence(comparison, tr(SUBJECTS[CHOICE]), CHOICE, record)
        blocks.append(Notice(title, tr("{sentence}.", sentence=stated), TONES[read]))
    blocks += _stances(comparison)
    if (changed := _changed_domains(comparison)) is not None:
        blocks.append(Text(changed))
    if len(comparison["runs"]) > 2:
        first = comparison["runs"][0]["name"]
        blocks.append(
            Text(
                tr(
                    "Each run is compared with {first} alone. Two others that differ from it in "
                    "other ways aren't thereby different from one another: nothing here ranks "
                    "them. Name one of them first to compare it with the rest.",
                    first=first,
                )
            )
        )
    return blocks


def _families(families: Mapping[str, Any]) -> str:
    parts = [tr(_FAMILIES[name], n=count(own["tests"])) for name, own in families.items()]
    if not parts:
        return tr("none were tested")
    if len(parts) == 1:
        return parts[0]
    return tr(
        "{families}, each with 1/{n} of the rate of false alarms",
        families=listed(parts),
        n=len(parts),
    )


def sentence(
    comparison: Mapping[str, Any], subject: str, measure: str, record: Mapping[str, Any]
) -> str:
    difference, read = Interval.of(record, "difference"), record["reading"]
    if read == TOO_FEW:
        return tr(
            "{subject}: {reading} ({n} items are in both runs; at least {least} are needed)"
            if measure == STANCE
            else "{subject}: {reading} ({n} questions have a value in both runs; at least {least} "
            "are needed)",
            subject=subject,
            reading=recorded(read),
            n=count(difference.n),
            least=MINIMUM_PAIRS,
        )
    show, least = shown_as(comparison, measure), record["detectable"]
    if least is None:
        found = tr("no change, however large, would have been found")
    else:
        change = with_unit(comparison, measure, size(comparison, measure, least))
        found = tr("a change of {change} would have been found", change=change)
    return tr(
        "{subject}: {reading} ({difference}, {confidence} interval {interval}, corrected p {p}; "
        "with a probability of {power} {found})",
        subject=subject,
        reading=recorded(read),
        difference=with_unit(comparison, measure, show(difference.value)),
        confidence=level(comparison["confidence"]),
        interval=bounds(difference, show),
        p=probability(record["p_corrected"]),
        power=level(comparison["power"]),
        found=found,
    )


def _stances(comparison: Mapping[str, Any]) -> list[Block]:
    """For each run, where its stance has moved. That is neither good nor bad news."""
    shifts: dict[str, dict[str, Mapping[str, Any]]] = {}
    for name, label, record in of_stances(comparison):
        shifts.setdefault(name, {})[label] = record
    blocks: list[Block] = []
    for name, own in shifts.items():
        few = sum(record["reading"] == TOO_FEW for record in own.values())
        clear = [
            tr("{sentence}.", sentence=sentence(comparison, label, STANCE, record))
            for label, record in own.items()
            if record["reading"] not in (NO_CHANGE, TOO_FEW)
        ]
        if few == len(own):
            finding = recorded(TOO_FEW)
            text = tr(
                "A dimension needs at least {least} items, and has {most} at most. The table of "
                "stances shows the shifts with their intervals.",
                least=MINIMUM_PAIRS,
                most=max(record["n"] for record in own.values()),
            )
        elif clear:
            finding = tr("{k} of {n} shifts are clear", k=len(clear), n=len(own) - few)
            text = together(*clear)
        else:
            finding = recorded(NO_CHANGE)
            text = tr("The table of stances shows which shifts would have been found.")
        what = commas(name, tr("stance"))
        blocks.append(Notice(tr("{subject}: {finding}", subject=what, finding=finding), text))
    return blocks


def _unscored(comparison: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    if not record["unpaired"] or record["unscored_against"] is None:
        return ""
    show = shown_as(comparison, "judge")
    return tr(
        "Without a score in one run or both, and left out: {n}. Were all of these scored as badly "
        "as can be for this run, the difference would be {worst}, and as well as can be, {best}.",
        n=count(record["unpaired"]),
        worst=show(record["unscored_against"]),
        best=show(record["unscored_for"]),
    )


def _changed_domains(comparison: Mapping[str, Any]) -> str | None:
    """A sentence on the domains that changed."""
    if "domains" not in comparison["families"]:
        return None
    found = []
    for name, own in comparison["comparisons"].items():
        for domain, languages in own["domains"].items():
            for lang, parts in languages.items():
                for measure in comparison["measures"]:
                    read = parts[measure].get("reading")
                    if read in ("higher", "lower"):
                        change = tr(
                            "{domain} ({run}, {language}: {reading})",
                            domain=capitalised(domain),
                            run=name,
                            language=language(lang),
                            reading=recorded(read),
                        )
                        found.append(change)
    if not found:
        return tr("By domain: no clear change in any.")
    return tr("By domain: {changes}.", changes=listed(found))
