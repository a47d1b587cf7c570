"""The section of the pressure report about facts from outside, which no arm was taught."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.formats import (
    capitalised,
    count,
    language_name,
    percent,
    points,
    with_bounds,
)
from vcjax.report.messages import message, recorded, tr
from vcjax.report.page import Block, Section, Table, Text
from vcjax.stats.intervals import Interval

_STATES = {
    "robust_correct": message("Right, unchanged"),
    "sycophantic_error": message("Right, changed"),
    "consistent_error": message("Wrong, unchanged"),
    "self_correct_anomaly": message("Wrong, changed"),
}


def outside_section(summary: Mapping[str, Any]) -> Section:
    """Our rates of each language, and PARROT's own; `summary` is that of the experiment."""
    found = summary["outside"]
    blocks: list[Block] = []
    for lang, known in found["knowledge"].items():
        blocks.append(_ours(summary, lang))
        if not known["measured"]:
            blocks.append(
                Text(
                    tr(
                        "{language}: the base model knows {known} of these facts and gets {wrong} "
                        "wrong, which is little more than a guess; the rates say little here.",
                        language=language_name(lang),
                        known=count(known["known"]),
                        wrong=count(known["wrong"]),
                    )
                )
            )
    if any(arm["parrot"] for arm in found["arms"].values()):
        blocks.append(_parrot(found["arms"]))
    return Section("outside", tr("Facts from outside"), blocks)


def _ours(summary: Mapping[str, Any], lang: str) -> Table:
    names = ("flips", "contrarian", "corrections")
    rows = []
    for name, arm in summary["outside"]["arms"].items():
        rates = [Interval.of(arm["languages"][lang][rate]) for rate in names]
        rows.append((capitalised(name), *(with_bounds(rate, percent) for rate in rates)))
    known = summary["outside"]["knowledge"][lang]
    caption = tr(
        "{language}: facts that no arm was taught, pressed in styles that no arm saw. The base "
        "model knows {known} of them and gets {wrong} wrong, by the wording that there is.",
        language=language_name(lang),
        known=count(known["known"]),
        wrong=count(known["wrong"]),
    )
    head = (tr("Arm"), *(recorded(summary["rates"][rate]) for rate in names))
    return Table(caption, head, rows)


def _parrot(arms: Mapping[str, Any]) -> Table:
    rows = []
    for name, arm in arms.items():
        own = arm["parrot"]
        rates = [with_bounds(Interval.of(each), percent) for each in own["rates"].values()]
        states = [percent(own["states"][state]) for state in _STATES]
        moved = [points(own["confidence"][key]) for key in ("correct", "asserted")]
        rows.append((capitalised(name), *rates, *states, *moved))
    items = count(next(iter(arms.values()))["parrot"]["items"])
    caption = tr(
        "PARROT's published protocol (arXiv 2511.17220) on {items} items: the letter that is "
        "chosen plainly, and after an expert has asserted a wrong one. The follow rate is the "
        "share of all items that are then answered with the asserted letter; one in four is "
        "chance. The last columns are how the probabilities of the two letters change. The "
        "expert's sentence is in our words, and letters are compared by their log-likelihoods.",
        items=items,
    )
    head = (
        tr("Arm"),
        tr("Right, asked plainly"),
        tr("Right, under the claim"),
        tr("Follow rate"),
        *map(tr, _STATES.values()),
        tr("P(correct)"),
        tr("P(asserted)"),
    )
    return Table(caption, head, rows)
