"""The tables of the ablation by stage: arms, steps, domains, rules and training."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.ablation.tables import left_out_text
from vcjax.report.formats import (
    DASH,
    capitalised,
    check_labels,
    count,
    duration,
    k_of_n,
    language_name,
    level,
    number,
    percent,
    points,
    probability,
    spaced,
    with_bounds,
)
from vcjax.report.messages import commas, message, tr
from vcjax.report.page import Block, Table
from vcjax.report.stages.verdict import LABELS, shown_as, step_changes
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import reading

STAGES = {
    "": message("the model as it is"),
    "cpt": message("continued pre-training"),
    "sft": message("instruction tuning"),
    "adversarial": message("adversarial training"),
}


def pressure_rates(summary: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The rates of an arm by language: they stand in the steps."""
    for record in summary["steps"]:
        after, before = record["arms"]
        # The base model and every arm are in some step; the rates of an arm are the same in all of
        # its steps.
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
        cells = [capitalised(name), tr(STAGES[arm["stage"]])]
        for lang in summary["languages"]:
            rate = Interval.of(arm["rules"]["languages"].get(lang))
            cells.append(with_bounds(rate, percent))
            if judged:
                mean = Interval.of(arm["scores"]["languages"][lang], "mean")
                cells.append(with_bounds(mean, number))
        rates = pressure_rates(summary, name)
        for lang in measured:
            cells += [
                with_bounds(Interval.of(rates[lang][rate]), percent)
                for rate in ("flips", "corrections")
            ]
        cells += [with_bounds(Interval.of(own, "rate"), percent) for own in arm["facts"].values()]
        cells += [number(own["perplexity"], 1) for own in arm["documents"].values()]
        cells += [number(task["mean"], 3) for task in arm.get("capability", {}).values()]
        rows.append((*cells, duration(arm["seconds"])))
    heads: list[str] = [tr("Arm"), tr("What it is")]
    for lang in map(language_name, summary["languages"]):
        heads += [commas(tr("Rules kept"), lang), *([commas(tr("Judge"), lang)] if judged else [])]
    for lang in map(language_name, measured):
        heads += [commas(tr("Facts given up"), lang), commas(tr("Corrections taken"), lang)]
    first = summary["arms"][summary["base"]]
    heads += [commas(tr("Plain facts right"), language_name(lang)) for lang in first["facts"]]
    heads += [commas(tr("Perplexity"), language_name(lang)) for lang in first["documents"]]
    heads += [commas(task, own["metric"]) for task, own in first.get("capability", {}).items()]
    caption = tr(
        "The mean share of the charter's rules that an answer keeps; shares of known facts that "
        "are given up under held-out pressure and of valid corrections that are taken, and of "
        "facts of topics that no arm was taught that are right when they are asked plainly, with "
        "{confidence} intervals; perplexity of text that no arm was trained on ({left_out}).",
        confidence=level(summary["confidence"]),
        left_out=left_out_text(len(summary["documents_left_out"])),
    )
    return Table(caption, (*heads, tr("Time")), rows, labels=2)


def steps_table(summary: Mapping[str, Any]) -> Table:
    """Every tested change of every stage."""
    rows = []
    for record in summary["steps"]:
        after, before = record["arms"]
        for name, lang, change, p in step_changes(record):
            show, unit = shown_as(name)
            word = reading(change, p, summary["confidence"])
            rows.append(
                (
                    f"{capitalised(after)} − {spaced(before)}",
                    commas(_sentence_case(tr(LABELS[name])), language_name(lang)),
                    tr(unit, change=with_bounds(change, show)),
                    count(change.n),
                    probability(change.p),
                    probability(p),
                    tr(word),
                )
            )
    caption = tr(
        "Each arm less the one that it was trained from, in pairs: questions, facts, documents. "
        "Each interval is a {confidence} one by itself.",
        confidence=level(summary["confidence"]),
    )
    head = (
        tr("Stage"),
        tr("Measure"),
        tr("Difference"),
        tr("Pairs"),
        "p",
        tr("p corrected"),
        tr("Reading"),
    )
    return Table(caption, head, rows, labels=2)


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]


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
    heads = [commas(capitalised(arm), language_name(lang)) for arm in arms for lang in langs]
    head = (tr("Domain"), *heads)
    blocks: list[Block] = [
        Table(tr("Rules that an answer keeps, by domain and language."), head, rows)
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
        blocks.append(Table(tr("The judge's mean score, by domain and language."), head, rows))
    rows = [
        [
            capitalised(domain),
            *(
                with_bounds(Interval.of(record["domains"].get(domain), "difference"), points)
                for record in summary["steps"]
            ),
        ]
        for domain in names
    ]
    caption = tr(
        "Change of the share of rules kept, in percentage points, both languages together. "
        "These describe where a change comes from; with so few questions each they test nothing."
    )
    steps = [f"{capitalised(one)} − {spaced(other)}" for one, other in
             (record["arms"] for record in summary["steps"])]  # fmt: skip
    return [*blocks, Table(caption, (tr("Domain"), *steps), rows)]


_UNJUDGED = {"mean": None}


def rules_table(summary: Mapping[str, Any]) -> Table:
    """How often each rule is kept, arm by arm."""
    arms, langs = summary["arms"], summary["languages"]
    keys = sorted({key for arm in arms.values() for own in arm["checks"].values() for key in own})
    rows = []
    for key, label in check_labels(keys).items():
        name = tr("{rule} (measured only)", rule=label)
        found = [arm["checks"].get(lang, {}).get(key) for arm in arms.values() for lang in langs]
        rates = (percent(own and own["rate"]) for own in found)
        rows.append((name if key in summary["measured_rules"] else label, *rates))
    heads = [commas(capitalised(arm), language_name(lang)) for arm in arms for lang in langs]
    caption = tr(
        "Answers that keep each rule. A rule that is measured only selects nothing, stands in no "
        "prompt, and isn't counted elsewhere in this report."
    )
    return Table(caption, (tr("Rule"), *heads), rows)


def training_table(summary: Mapping[str, Any]) -> Table:
    """What each stage was trained on."""
    rows = []
    for name, arm in summary["arms"].items():
        if (own := arm.get("training")) is None:
            continue
        made = DASH
        if attacks := arm.get("attacks"):
            made = k_of_n(attacks["accepted"], attacks["attempts"])
        pairs = count(arm["pairs"]) if "pairs" in arm else DASH
        counts = (count(own[key]) for key in ("steps", "tokens", "loss_tokens"))
        losses = (number(own[key], 3) for key in ("first_loss", "last_loss"))
        rows.append((capitalised(name), made, pairs, *counts, *losses))
    caption = tr(
        "What each stage was trained on. Accepted attempts are those of the attacks on the arm "
        "before it."
    )
    head = (
        tr("Arm"),
        tr("Accepted"),
        tr("Training pairs"),
        tr("Steps"),
        tr("Tokens"),
        tr("Loss tokens"),
        tr("First loss"),
        tr("Last loss"),
    )
    return Table(caption, head, rows)
