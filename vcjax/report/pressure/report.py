"""The report of the pressure experiment: the verdict first, then what it cost."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.report.appendix import lineage_section, sample_section
from vcjax.report.formats import capitalised, count, language_name, listed, spaced
from vcjax.report.page import (
    Answer,
    Block,
    Figure,
    Sample,
    Section,
    Text,
    markdown,
    prose,
    write_page,
)
from vcjax.report.plots import Row, interval_plot
from vcjax.report.pressure.half_life import half_life_section
from vcjax.report.pressure.outside import outside_section
from vcjax.report.pressure.tables import (
    breakdown_table,
    calibration_table,
    contrasts_table,
    costs_table,
    held_out_table,
    rates_table,
    training_table,
)
from vcjax.report.pressure.verdict import verdict_blocks
from vcjax.stats.intervals import Interval


def write_pressure_report(
    path: str | os.PathLike,
    *,
    summary: Mapping[str, Any],
    lineage: Sequence[dict[str, Any]] = (),
) -> None:
    """Writes the report.

    Args:
      summary: what `vcjax.road.pressure.run.measure_pressure` returned.
      lineage: see `appendix.lineage_section`.
    """
    facts, styles = summary["facts"], summary["styles"]
    trained = sum(bool(arm["seeds"]) for arm in summary["arms"].values())
    opening: list[Block] = [
        *verdict_blocks(summary),
        Text(
            f"{summary['model']} was trained in {trained} ways on facts that it knows, and asked "
            "about others that it knows, on whole topics that no arm saw and under styles of "
            f"pressure that no arm saw: {listed(map(spaced, styles['held_out']))}. The user "
            "claims the false answer in one half of the conversations and the true one in the "
            "other. What the model prefers is read from the log-likelihoods of both answers: no "
            "judge is asked."
        ),
        prose("pressure_reading"),
    ]
    known = [(language_name(lang), _knowledge(own)) for lang, own in summary["knowledge"].items()]
    table = [
        ("Base model", summary["model"]),
        ("Facts", f"{count(facts['facts'])} ({facts['hash'][:12]})"),
        ("Sources read", f"{count(facts['source_read'])} of {count(facts['facts'])}"),
        *known,
        ("Part", f"{summary['part']}, read {count(summary['readings'])} times in this folder"),
        *_attacks(summary),
        ("Seed", str(summary["seed"])),
    ]
    sections = []
    for lang in _languages(summary):
        name = language_name(lang)
        sections += [
            Section(f"rates-{lang}", f"What each arm does, {name}", [
                _figure(summary, lang),
                rates_table(summary, lang),
                calibration_table(summary, lang),
            ]),
            Section(f"apart-{lang}", f"Held out apart, {name}", [held_out_table(summary, lang)]),
            Section(f"styles-{lang}", f"By style and topic, {name}", [
                breakdown_table(summary, lang, "by_style", "flips", "style"),
                breakdown_table(summary, lang, "by_style", "contrarian", "style"),
                breakdown_table(summary, lang, "by_topic", "flips", "topic"),
            ]),
        ]  # fmt: skip
    if "outside" in summary:
        sections.append(outside_section(summary))
    if "half_life" in summary:
        sections.append(half_life_section(summary["half_life"]))
    sections += [
        Section("contrasts", "Planned contrasts", [contrasts_table(summary)]),
        Section("costs", "What it cost", [costs_table(summary)]),
        Section("training", "Training", [training_table(summary)]),
        sample_section([_sample(sample) for sample in summary["answers"]]),
        Section("limits", "What this is not", [prose("pressure_limits", summary=summary)]),
        lineage_section(table, lineage),
    ]
    write_page(path, f"Facts under pressure: {summary['model']}", opening, sections)


def pressure_markdown(summary: Mapping[str, Any]) -> str:
    """The main tables as Markdown, for a README."""
    tables = [rates_table(summary, lang) for lang in _languages(summary)]
    return markdown(
        [*tables, contrasts_table(summary), costs_table(summary), training_table(summary)]
    )


def _languages(summary: Mapping[str, Any]) -> list[str]:
    return [lang for lang, own in summary["knowledge"].items() if own["measured"]]


def _attacks(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Who wrote the pressing messages, if an Attacker did."""
    if (own := summary.get("attacks")) is None:
        return []
    reasons = [f"{count(n)} {reason}" for reason, n in own["stand_ins"].items()]
    text = (
        f"{own['attacker']} wrote {count(own['written'])} of {count(own['requested'])}; the "
        "deterministic wording stands in for the others"
    )
    found = [("Pressing messages", f"{text} ({', '.join(reasons)})" if reasons else text)]
    if own["critic"]:
        judge = f"{own['critic']}; {count(own['unjudged'])} verdicts couldn't be read"
        same = ". It is of the Attacker's family" if own["same_family"] else ""
        found.append(("Judged whether they press", judge + same))
    return found


def _knowledge(own: Mapping[str, Any]) -> str:
    text = (
        f"{count(own['known'])} known, {count(own['wrong'])} wrong, {count(own['unsure'])} unsure"
    )
    return text if own["measured"] else f"{text}: the model guesses; not measured"


def _figure(summary: Mapping[str, Any], lang: str) -> Figure:
    rows = [
        Row(f"{capitalised(name)}, {label}", [Interval.of(arm["languages"][lang]["rates"][rate])])
        for name, arm in summary["arms"].items()
        for rate, label in (("flips", "given up"), ("corrections", "corrected"))
    ]
    title = f"Given up and corrected, {language_name(lang)}"  # has the width of the axes alone
    svg = interval_plot(f"pressure-{lang}", title, ["after"], rows, low=0, high=1, share=True)
    caption = f"Known facts given up, and valid corrections taken, {language_name(lang)}"
    return Figure(f"{caption}: a good model gives up few and takes many.", svg)


def _sample(sample: Mapping[str, Any]) -> Sample:
    tag = f"{spaced(sample['style'])} · {capitalised(sample['domain'])} · {sample['id']}"
    turns = "\n".join(f"{turn['role']}: {turn['content']}" for turn in sample["messages"])
    answers = []
    for name, text in sample["answers"].items():
        # By the rule of `vcjax.road.pressure.summary.named_answers`, whose counts stand in the
        # table of costs.
        has = [key for key in ("true", "false") if sample[key].lower() in text.lower()]
        remark = f"names the {listed(has)} answer" if has else "names neither answer"
        answers.append(Answer(capitalised(name), text or "(empty answer)", [remark]))
    return Sample(tag, sample["lang"], turns, answers)
