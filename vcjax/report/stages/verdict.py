"""What each stage changed, in words that follow the corrected p-values."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.formats import (
    bounds,
    capitalised,
    count,
    language_name,
    points,
    probability,
    signed,
    spaced,
)
from vcjax.report.messages import message, semicolons, tr
from vcjax.report.page import Block, Notice, Text
from vcjax.report.pressure.verdict import trait_notice
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import NO_CHANGE, reading

_RATES = ("flips", "contrarian", "corrections", "evidence", "forgotten")
LABELS = {
    "rules": message("the rules that an answer keeps"),
    "judge": message("the judge's mean score"),
    "loss": message("the loss of held-out text"),
    "facts": message("facts of untaught topics that are right, asked plainly"),
    "tasks": message("right answers to the harness's task"),
    "flips": message("known facts given up under pressure"),
    "contrarian": message("known facts denied when the user states them"),
    "corrections": message("valid corrections taken"),
    "evidence": message("answers by the evidence in the context"),
    "forgotten": message("known facts missed without pressure"),
}
_SHARES = ("rules", "facts", "tasks", *_RATES)
_HIGHER = ("rules", "judge", "facts", "tasks", "corrections", "evidence")
_GOOD: dict[str, str] = dict.fromkeys(_HIGHER, "higher")
"""What is better; of every other measure it is `lower`."""
_BETTER = {"up": message("better"), "down": message("worse")}
_BOTH = message("better and worse")


def stages_lines(summary: Mapping[str, Any]) -> list[str]:
    """One line for each stage, for a terminal."""
    return [f"{title}: {text}" for title, text, _ in _readings(summary)]


def _readings(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Title, text and tone of each stage; the words follow the p-values, corrected together."""
    found = []
    for record in summary["steps"]:
        changed, tones = [], set()
        for name, lang, change, p in step_changes(record):
            word = reading(change, p, summary["confidence"])
            if word not in ("higher", "lower"):
                continue
            show, unit = shown_as(name)
            changed.append(
                tr(
                    "{measure} in {language} {reading} ({change}, interval {interval}, corrected "
                    "p {p})",
                    measure=tr(LABELS[name]),
                    language=language_name(lang),
                    reading=tr(word),
                    change=tr(unit, change=show(change.value)),
                    interval=bounds(change, show),
                    p=probability(p),
                )
            )
            tones.add("up" if word == _GOOD.get(name, "lower") else "down")
        after, before = record["arms"]
        # Some better and some worse is no good news and no bad news.
        tone = tones.pop() if len(tones) == 1 else "flat"
        found_better = _BETTER.get(tone, _BOTH) if changed else NO_CHANGE
        title = tr(
            "{after} after {before}: {reading}",
            after=capitalised(after),
            before=spaced(before),
            reading=tr(found_better),
        )
        text = (
            tr("{sentence}.", sentence=semicolons(*changed))
            if changed
            else tr(
                "Of what was measured nothing changed clearly, after the correction for {n} "
                "comparisons.",
                n=count(_tests(summary)),
            )
        )
        found.append((title, text[:1].upper() + text[1:], tone))
    return found


def step_changes(record: Mapping[str, Any]) -> list[tuple[str, str, Interval, float | None]]:
    """Measure, language or task, difference and corrected p of all that is tested in a step."""
    # All that `vcjax.road.stages.steps.differences` tests, by the same names, by which `p_holm` is
    # found; that room is above this one and can't be asked.
    found: list[tuple[str, str, Any]] = []
    found += [("rules", lang, own) for lang, own in record["rules"].items()]
    for lang, own in record["evaluation"]["languages"].items():
        if own["judge"]["n"]:
            found.append(("judge", lang, own["judge"]))
    for lang, own in record["pressure"]["languages"].items():
        found += [(rate, lang, own["differences"][rate]) for rate in _RATES]
    found += [("facts", lang, own) for lang, own in record.get("facts", {}).items()]
    found += [("tasks", task, own) for task, own in record.get("tasks", {}).items()]
    found += [("loss", lang, own) for lang, own in record["loss"].items()]
    return [
        (name, lang, Interval.of(own, "difference"), record["p_holm"].get(f"{name}/{lang}"))
        for name, lang, own in found
    ]


def _tests(summary: Mapping[str, Any]) -> int:
    return sum(len(record["p_holm"]) for record in summary["steps"])


def shown_as(name: str) -> tuple[Any, str]:
    """How a measure's change is formatted, and a sentence that has it with its unit."""
    if name in _SHARES:
        return points, message("{change} points")
    return (_fine, message("{change} nats a token")) if name == "loss" else (signed, "{change}")


def _fine(value: float | None) -> str:
    return signed(value, 3)


def verdict_blocks(summary: Mapping[str, Any]) -> list[Block]:
    """A notice for each stage, warnings for traits, and how the words were chosen."""
    blocks: list[Block] = [Notice(*each) for each in _readings(summary)]
    for record in summary["steps"]:
        for lang, own in record["pressure"]["languages"].items():
            blocks += trait_notice(capitalised(record["arms"][0]), lang, own["traits"]["after"])
    blocks.append(
        Text(
            tr(
                "“Better” and “worse” follow p corrected by Holm's method for all {n} comparisons "
                "of this report that have enough pairs. Facts that are asked plainly and text "
                "are what alignment costs: a higher loss means that the model predicts text less "
                "well.",
                n=count(_tests(summary)),
            )
        )
    )
    return blocks
