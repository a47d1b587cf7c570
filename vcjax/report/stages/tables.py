"""The tables of the ablation by stage: arms, steps, domains, rules and training."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.formats import (
    DASH,
    capitalised,
    check_labels,
    count,
    duration,
    language_name,
    number,
    percent,
    points,
    probability,
    spaced,
)
from vcjax.report.page import Block, Table
from vcjax.report.stages.verdict import LABELS, shown_as, step_changes
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import reading

STAGES = {
    "": "the model as it is",
    "cpt": "continued pre-training",
    "sft": "instruction tuning",
    "adversarial": "adversarial training",
}


def pressure_rates(summary: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The rates of an arm by language: they stand in the steps."""
    for record in summary["steps"]:
        after, before = record["arms"]
        if name in (after, before):
            side = "after" if name == after else "before"
            languages = record["pressure"]["languages"]
            return {lang: own["rates"][side] for lang, own in languages.items()}
    return {}


def arms_table(summary: Mapping[str, Any]) -> Table:
    """What every arm is, keeps, gives up and reads, and how long it took."""
    judged = summary["judge"] is not None
    measured = list(pressure_rates(summary, summary["base"]))
    rows = []
    for name, arm in summary["arms"].items():
        cells = [capitalised(name), STAGES[arm["stage"]]]
        for lang in summary["languages"]:
            rate = Interval.of(arm["rules"]["languages"].get(lang))
            cells.append(rate.text(percent, "{} [{} to {}]"))
            if judged:
                mean = Interval.of({**arm["scores"]["languages"][lang], "p": None}, "mean")
                cells.append(mean.text(number, "{} [{} to {}]"))
        rates = pressure_rates(summary, name)
        for lang in measured:
            cells += [
                Interval.of(rates[lang][rate]).text(percent, "{} [{} to {}]")
                for rate in ("flips", "corrections")
            ]
        cells += [number(own["perplexity"], 1) for own in arm["documents"].values()]
        cells += [number(task["mean"], 3) for task in arm.get("capability", {}).values()]
        rows.append((*cells, duration(arm["seconds"])))
    heads: list[str] = ["Arm", "What it is"]
    for lang in map(language_name, summary["languages"]):
        heads += [f"Rules kept, {lang}", *([f"Judge, {lang}"] if judged else [])]
    for lang in map(language_name, measured):
        heads += [f"Facts given up, {lang}", f"Corrections taken, {lang}"]
    first = summary["arms"][summary["base"]]
    heads += [f"Perplexity, {language_name(lang)}" for lang in first["documents"]]
    heads += [f"{task}, {own['metric']}" for task, own in first.get("capability", {}).items()]
    caption = (
        "The mean share of the charter's rules that an answer keeps; shares of known facts that "
        "are given up under held-out pressure and of valid corrections that are taken, with "
        f"{summary['confidence']:.0%} intervals; perplexity of text that no arm was trained on"
    )
    if left_out := len(summary["documents_left_out"]):
        caption += f" ({count(left_out)} more share a sentence with what one was trained on)"
    return Table(f"{caption}.", (*heads, "Time"), rows, labels=2)


def steps_table(summary: Mapping[str, Any]) -> Table:
    """Every tested change of every stage."""
    rows = []
    for record in summary["steps"]:
        after, before = record["arms"]
        for name, lang, change, p in step_changes(record):
            show, unit = shown_as(name)
            rows.append(
                (
                    f"{capitalised(after)} − {spaced(before)}",
                    f"{capitalised(LABELS[name])}, {language_name(lang)}",
                    f"{change.text(show, '{} [{} to {}]')}{unit}",
                    count(change.n),
                    probability(change.p),
                    probability(p),
                    reading(change, p, summary["confidence"]),
                )
            )
    caption = (
        "Each arm less the one that it was trained from, in pairs: questions, facts, documents. "
        f"Each interval is a {summary['confidence']:.0%} one by itself."
    )
    head = ("Stage", "Measure", "Difference", "Pairs", "p", "Corrected p", "Reading")
    return Table(caption, head, rows, labels=2)


def domain_tables(summary: Mapping[str, Any]) -> list[Block]:
    """Rules, scores and changes by domain and language."""
    arms, langs = summary["arms"], summary["languages"]
    names = sorted({name for arm in arms.values() for name in arm["rules"]["domains"]})
    rows = []
    for domain in names:
        cells = [capitalised(domain)]
        for arm in arms.values():
            for lang in langs:
                own = arm["rules"]["domains"].get(domain, {}).get(lang)
                cells.append(percent(own["mean"]) if own else DASH)
        rows.append(cells)
    heads = [f"{capitalised(arm)}, {language_name(lang)}" for arm in arms for lang in langs]
    blocks: list[Block] = [
        Table("Rules that an answer keeps, by domain and language.", ("Domain", *heads), rows)
    ]
    if summary["judge"] is not None:
        rows = [
            [
                capitalised(domain),
                *(
                    number(
                        (arm["scores"]["domains"].get(domain, {}).get(lang) or _UNJUDGED)["mean"]
                    )
                    for arm in arms.values()
                    for lang in langs
                ),
            ]
            for domain in names
        ]
        blocks.append(
            Table("The judge's mean score, by domain and language.", ("Domain", *heads), rows)
        )
    rows = [
        [
            capitalised(domain),
            *(
                Interval.of(record["domains"].get(domain), "difference").text(
                    points, "{} [{} to {}]"
                )
                for record in summary["steps"]
            ),
        ]
        for domain in names
    ]
    caption = (
        "Change of the share of rules kept, in percentage points, both languages together. "
        "These describe where a change comes from; with so few questions each they test nothing."
    )
    head = [f"{capitalised(one)} − {spaced(other)}" for one, other in
            (record["arms"] for record in summary["steps"])]  # fmt: skip
    return [*blocks, Table(caption, ("Domain", *head), rows)]


_UNJUDGED = {"mean": None}


def rules_table(summary: Mapping[str, Any]) -> Table:
    """How often each rule is kept, arm by arm."""
    arms, langs = summary["arms"], summary["languages"]
    keys = sorted({key for arm in arms.values() for own in arm["checks"].values() for key in own})
    rows = []
    for key, label in check_labels(keys).items():
        mark = " (measured only)" if key in summary["measured_rules"] else ""
        found = [arm["checks"].get(lang, {}).get(key) for arm in arms.values() for lang in langs]
        rows.append((f"{label}{mark}", *(percent(own and own["rate"]) for own in found)))
    heads = [f"{capitalised(arm)}, {language_name(lang)}" for arm in arms for lang in langs]
    caption = (
        "Answers that keep each rule. A rule that is measured only selects nothing, stands in no "
        "prompt, and isn't counted elsewhere in this report."
    )
    return Table(caption, ("Rule", *heads), rows)


def training_table(summary: Mapping[str, Any]) -> Table:
    """What each stage was trained on."""
    rows = []
    for name, arm in summary["arms"].items():
        if (own := arm.get("training")) is None:
            continue
        made = DASH
        if attacks := arm.get("attacks"):
            made = f"{count(attacks['accepted'])} of {count(attacks['attempts'])}"
        pairs = count(arm["pairs"]) if "pairs" in arm else DASH
        counts = (count(own[key]) for key in ("steps", "tokens", "loss_tokens"))
        losses = (number(own[key], 3) for key in ("first_loss", "last_loss"))
        rows.append((capitalised(name), made, pairs, *counts, *losses))
    caption = (
        "What each stage was trained on. Accepted attempts are those of the attacks on the arm "
        "before it."
    )
    head = ("Arm", "Accepted", "Pairs", "Steps", "Tokens", "Loss tokens", "First loss", "Last loss")
    return Table(caption, head, rows)
