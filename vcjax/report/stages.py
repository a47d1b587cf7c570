"""The report of the ablation by stage: what each stage added and cost; verdict first."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.report.appendix import lineage_section, sample_section
from vcjax.report.formats import (
    DASH,
    bounds,
    capitalised,
    check_labels,
    count,
    duration,
    language_name,
    listed,
    number,
    percent,
    points,
    probability,
    signed,
    spaced,
)
from vcjax.report.page import (
    Answer,
    Block,
    Figure,
    Figures,
    Notice,
    Sample,
    Section,
    Table,
    Text,
    markdown,
    prose,
    write_page,
)
from vcjax.report.plots import Row, interval_plot
from vcjax.report.pressure import trait_notice
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import reading

_STAGES = {
    "": "the model as it is",
    "cpt": "continued pre-training",
    "sft": "instruction tuning",
    "adversarial": "adversarial training",
}
_RATES = ("flips", "contrarian", "corrections", "evidence", "forgotten")
_LABELS = {
    "rules": "the rules that an answer keeps",
    "judge": "the judge's mean score",
    "loss": "the loss of held-out text",
    "flips": "known facts given up under pressure",
    "contrarian": "known facts denied when the user states them",
    "corrections": "valid corrections taken",
    "evidence": "answers by the evidence in the context",
    "forgotten": "known facts missed without pressure",
}
_SHARES = ("rules", *_RATES)
_GOOD = {"rules": "higher", "judge": "higher", "corrections": "higher", "evidence": "higher"}
"""What is better; of every other measure it is `lower`."""


def write_stages_report(
    path: str | os.PathLike,
    *,
    summary: Mapping[str, Any],
    samples: Sequence[Mapping[str, Any]] = (),
    lineage: Sequence[dict[str, Any]] = (),
) -> None:
    """Writes the report.

    Args:
      summary: what `vcjax.road.stages.run.ablate_stages` returned.
      samples: `{id, lang, domain, question, answers}`, with what each arm answered.
      lineage: see `appendix.lineage_section`.
    """
    model, charter = summary["model"]["reference"], summary["charter"]
    trained = [
        f"{_STAGES[arm['stage']]} after {spaced(arm['after'])} ({spaced(name)})"
        for name, arm in summary["arms"].items()
        if arm["after"]
    ]
    opening: list[Block] = [
        *_verdicts(summary),
        Text(
            f"{model} was trained stage by stage: {listed(trained)}. Every arm answered the same "
            f"{count(summary['benchmark']['items'])} questions, preferred one of two answers about "
            "the same facts under the same pressure, and read the same text that no arm was "
            "trained on. Each stage is compared with the arm that it was trained from, question "
            "by question, fact by fact, document by document."
        ),
        prose("checks", trained_on=True),
        *([] if summary["judge"] is None else [prose("judge", same_family=summary["same_family"])]),
    ]
    facts = [
        ("Base model", model),
        ("Charter", f"{charter['name']} {charter['version']} ({charter['hash'][:12]})"),
        ("Judge", summary["judge"]["name"] if summary["judge"] else "none: rules alone"),
        ("Seed", str(summary["seed"])),
    ]
    sections = [
        Section("arms", "Arms", [_figures(summary), _arms(summary)]),
        Section("steps", "Stage by stage", [_steps(summary)]),
        Section("rules", "Rule by rule", [_rules(summary)]),
        Section("domains", "By domain and language", _domains(summary)),
        Section("training", "Data and training", [_training(summary)]),
        sample_section([_sample(sample) for sample in samples]),
        Section("limits", "What this is not", [prose("stages_limits", summary=summary)]),
        lineage_section(facts, lineage),
    ]
    write_page(path, f"Stage by stage: {model}", opening, sections)


def stages_markdown(summary: Mapping[str, Any]) -> str:
    """The main tables as Markdown, for a README."""
    domains = [block for block in _domains(summary) if isinstance(block, Table)]
    return markdown([_arms(summary), _steps(summary), *domains, _training(summary)])


def stages_lines(summary: Mapping[str, Any]) -> list[str]:
    """One line for each stage, for a terminal."""
    return [f"{title}: {text}" for title, text, _ in _readings(summary)]


def _readings(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Title, text and tone of each stage; the words follow the p-values, corrected together."""
    found = []
    for record in summary["steps"]:
        changed, tones = [], set()
        for name, lang, change, p in _changes(record):
            word = reading(change, p, summary["confidence"])
            if word not in ("higher", "lower"):
                continue
            show, unit = _shown(name)
            changed.append(
                f"{_LABELS[name]} in {language_name(lang)} {word} ({show(change.value)}{unit} "
                f"[{bounds(change, show)}], corrected p {probability(p)})"
            )
            tones.add("up" if word == _GOOD.get(name, "lower") else "down")
        after, before = record["arms"]
        title = f"{capitalised(after)} after {spaced(before)}"
        tone = tones.pop() if len(tones) == 1 else "flat"
        title += {"up": ": better", "down": ": worse"}.get(tone, ": better and worse")
        if not changed:
            title = f"{capitalised(after)} after {spaced(before)}: no clear change"
        text = (
            f"{'; '.join(changed)}."
            if changed
            else (
                "Of what was measured nothing changed clearly, after the correction for "
                f"{count(_tests(summary))} comparisons."
            )
        )
        found.append((title, text[:1].upper() + text[1:], tone))
    return found


def _changes(record: Mapping[str, Any]) -> list[tuple[str, str, Interval, float | None]]:
    """Measure, language, difference and corrected p of all that is tested in a step."""
    found: list[tuple[str, str, Any]] = []
    found += [("rules", lang, own) for lang, own in record["rules"].items()]
    for lang, own in record["evaluation"]["languages"].items():
        if own["judge"]["n"]:
            found.append(("judge", lang, own["judge"]))
    for lang, own in record["pressure"]["languages"].items():
        found += [(rate, lang, own["differences"][rate]) for rate in _RATES]
    found += [("loss", lang, own) for lang, own in record["loss"].items()]
    return [
        (name, lang, Interval.of(own, "difference"), record["p_holm"].get(f"{name}/{lang}"))
        for name, lang, own in found
    ]


def _tests(summary: Mapping[str, Any]) -> int:
    return sum(len(record["p_holm"]) for record in summary["steps"])


def _shown(name: str) -> tuple[Any, str]:
    if name in _SHARES:
        return points, " points"
    return (_fine, " nats a token") if name == "loss" else (signed, "")


def _fine(value: float | None) -> str:
    return signed(value, 3)


def _verdicts(summary: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = [Notice(*each) for each in _readings(summary)]
    for record in summary["steps"]:
        for lang, own in record["pressure"]["languages"].items():
            blocks += trait_notice(capitalised(record["arms"][0]), lang, own["traits"]["after"])
    blocks.append(
        Text(
            "“Better” and “worse” follow p corrected by Holm's method for all "
            f"{count(_tests(summary))} comparisons of this report that have enough pairs. Text is "
            "what alignment costs: a higher loss means that the model predicts it less well."
        )
    )
    return blocks


def _pressure(summary: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The rates of an arm by language: they stand in the steps."""
    for record in summary["steps"]:
        after, before = record["arms"]
        if name in (after, before):
            side = "after" if name == after else "before"
            languages = record["pressure"]["languages"]
            return {lang: own["rates"][side] for lang, own in languages.items()}
    return {}


def _arms(summary: Mapping[str, Any]) -> Table:
    judged = summary["judge"] is not None
    measured = list(_pressure(summary, summary["base"]))
    rows = []
    for name, arm in summary["arms"].items():
        cells = [capitalised(name), _STAGES[arm["stage"]]]
        for lang in summary["languages"]:
            rate = Interval.of(arm["rules"]["languages"].get(lang))
            cells.append(rate.text(percent, "{} [{} to {}]"))
            if judged:
                mean = Interval.of({**arm["scores"]["languages"][lang], "p": None}, "mean")
                cells.append(mean.text(number, "{} [{} to {}]"))
        rates = _pressure(summary, name)
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


def _steps(summary: Mapping[str, Any]) -> Table:
    rows = []
    for record in summary["steps"]:
        after, before = record["arms"]
        for name, lang, change, p in _changes(record):
            show, unit = _shown(name)
            rows.append(
                (
                    f"{capitalised(after)} − {spaced(before)}",
                    f"{capitalised(_LABELS[name])}, {language_name(lang)}",
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


def _domains(summary: Mapping[str, Any]) -> list[Block]:
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


def _rules(summary: Mapping[str, Any]) -> Table:
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


def _training(summary: Mapping[str, Any]) -> Table:
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


def _figures(summary: Mapping[str, Any]) -> Figures:
    kept = [
        Row(
            f"{capitalised(name)}, {language_name(lang)}",
            [Interval.of(arm["rules"]["languages"].get(lang))],
        )
        for name, arm in summary["arms"].items()
        for lang in summary["languages"]
    ]
    figures = [_share("stages-rules", "Rules that an answer keeps", kept)]
    flips = [
        Row(f"{capitalised(name)}, {language_name(lang)}", [Interval.of(rates["flips"])])
        for name in summary["arms"]
        for lang, rates in _pressure(summary, name).items()
    ]
    if flips:
        figures.append(_share("stages-facts", "Known facts given up under pressure", flips))
    return Figures(figures)


def _share(name: str, title: str, rows: Sequence[Row]) -> Figure:
    svg = interval_plot(name, title, ["after"], rows, low=0, high=1, share=True)
    return Figure(f"{title}, arm by arm.", svg)


def _sample(sample: Mapping[str, Any]) -> Sample:
    tag = f"{language_name(sample['lang'])} · {capitalised(sample['domain'])} · {sample['id']}"
    answers = []
    for name, own in sample["answers"].items():
        labels = check_labels(own["checks"])
        failed = [labels[key] for key, passed in own["checks"].items() if not passed]
        remark = f"Breaks: {listed(failed)}" if failed else "Keeps every rule"
        answers.append(Answer(capitalised(name), own["answer"] or "(empty answer)", [remark]))
    return Sample(tag, sample["lang"], sample["question"], answers)
