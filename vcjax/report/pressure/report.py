"""The report of the pressure experiment: the verdict first, then what it cost."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.report.appendix import lineage_section, sample_section
from vcjax.report.formats import capitalised, count, k_of_n, language_name, listed, spaced
from vcjax.report.messages import commas, message, recorded, semicolons, together, tr, written_in
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
from vcjax.text.language import Language

_PARTS = {"test": message("test"), "dev": message("development")}
_STAND_INS = {
    "empty": message("without text"),
    "too long": message("longer than is allowed"),
    "placeholder": message("with a placeholder"),
    "names an answer": message("names an answer"),
    "language": message("in another language"),
    "does not press": message("does not press"),
}
"""Why a message was rejected; see `vcjax.adversarial.pressure.written.Written`. Replies that can't
be read have other reasons."""
_ROLES = {
    "system": message("System message"),
    "user": message("User"),
    "assistant": message("Assistant"),
}
_NAMED = {
    (True, True): message("names both answers"),
    (True, False): message("names the true answer"),
    (False, True): message("names the false answer"),
    (False, False): message("names neither answer"),
}


def write_pressure_report(
    path: str | os.PathLike,
    *,
    summary: Mapping[str, Any],
    lineage: Sequence[dict[str, Any]] = (),
    language: Language = "en",
) -> None:
    """Writes the report.

    Args:
      summary: what `vcjax.road.pressure.run.measure_pressure` returned.
      lineage: see `appendix.lineage_section`.
      language: that the report is written in.
    """
    with written_in(language, summary.get("domains")):
        write_page(path, *_report(summary, lineage))


def _report(
    summary: Mapping[str, Any], lineage: Sequence[dict[str, Any]]
) -> tuple[str, list[Block], list[Section]]:
    """Title, opening and sections."""
    facts, styles = summary["facts"], summary["styles"]
    trained = sum(bool(arm["seeds"]) for arm in summary["arms"].values())
    opening: list[Block] = [
        *verdict_blocks(summary),
        Text(
            tr(
                "{model} was trained in {ways} ways on facts that it knows, and asked about others "
                "that it knows, on whole topics that no arm saw and under styles of pressure that "
                "no arm saw: {styles}. The user claims the false answer in one half of the "
                "conversations and the true one in the other. What the model prefers is read from "
                "the log-likelihoods of both answers: no judge is asked.",
                model=summary["model"],
                ways=trained,
                styles=listed(map(spaced, styles["held_out"])),
            )
        ),
        prose("pressure_reading"),
    ]
    known = [(language_name(lang), _knowledge(own)) for lang, own in summary["knowledge"].items()]
    table = [
        (tr("Base model"), summary["model"]),
        (tr("Facts"), f"{count(facts['facts'])} ({facts['hash'][:12]})"),
        (tr("Sources read"), k_of_n(facts["source_read"], facts["facts"])),
        *known,
        (
            tr("Part"),
            tr(
                "{part}, read {n} times in this folder",
                part=tr(_PARTS[summary["part"]]),
                n=count(summary["readings"]),
            ),
        ),
        *_attacks(summary),
        (tr("Seed"), str(summary["seed"])),
    ]
    sections = []
    for lang in _languages(summary):
        name = language_name(lang)
        sections += [
            Section(f"rates-{lang}", commas(tr("What each arm does"), name), [
                _figure(summary, lang),
                rates_table(summary, lang),
                calibration_table(summary, lang),
            ]),
            Section(f"apart-{lang}", commas(tr("Held out apart"), name), [
                held_out_table(summary, lang),
            ]),
            Section(f"styles-{lang}", commas(tr("By style and topic"), name), [
                breakdown_table(summary, lang, "by_style", "flips"),
                breakdown_table(summary, lang, "by_style", "contrarian"),
                breakdown_table(summary, lang, "by_topic", "flips"),
            ]),
        ]  # fmt: skip
    if "outside" in summary:
        sections.append(outside_section(summary))
    if "half_life" in summary:
        sections.append(half_life_section(summary["half_life"]))
    sections += [
        Section("contrasts", tr("Planned contrasts"), [contrasts_table(summary)]),
        Section("costs", tr("What it cost"), [costs_table(summary)]),
        Section("training", tr("Training"), [training_table(summary)]),
        sample_section([_sample(sample) for sample in summary["answers"]]),
        Section("limits", tr("What this is not"), [prose("pressure_limits", summary=summary)]),
        lineage_section(table, lineage),
    ]
    return tr("Facts under pressure: {model}", model=summary["model"]), opening, sections


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
    text = tr(
        "{attacker} wrote {written} of {requested}; the deterministic wording stands in for the "
        "others",
        attacker=own["attacker"],
        written=count(own["written"]),
        requested=count(own["requested"]),
    )
    reasons = [
        tr("{reason}: {n}", reason=_reason(reason), n=count(n))
        for reason, n in own["stand_ins"].items()
    ]
    if reasons:
        text = tr("{value} ({bounds})", value=text, bounds=semicolons(*reasons))
    found = [(tr("Pressing messages"), text)]
    if own["critic"]:
        judged = tr(
            "{critic}; {n} verdicts couldn't be read.",
            critic=own["critic"],
            n=count(own["unjudged"]),
        )
        same = tr("It is of the Attacker's family.") if own["same_family"] else ""
        found.append((tr("Judged whether they press"), together(judged, same)))
    return found


def _reason(name: str) -> str:
    return tr(_STAND_INS[name]) if name in _STAND_INS else recorded(name)


def _knowledge(own: Mapping[str, Any]) -> str:
    text = tr(
        "{known} known, {wrong} wrong, {unsure} unsure",
        known=count(own["known"]),
        wrong=count(own["wrong"]),
        unsure=count(own["unsure"]),
    )
    if own["measured"]:
        return text
    return tr("{counts}: the model guesses; not measured", counts=text)


def _figure(summary: Mapping[str, Any], lang: str) -> Figure:
    rows = [
        Row(commas(capitalised(name), label), [Interval.of(arm["languages"][lang]["rates"][rate])])
        for name, arm in summary["arms"].items()
        for rate, label in (("flips", tr("given up")), ("corrections", tr("corrected")))
    ]
    # Short, as it has the width of the axes alone.
    title = commas(tr("Given up and corrected"), language_name(lang))
    svg = interval_plot(f"pressure-{lang}", title, ["after"], rows, low=0, high=1, share=True)
    caption = tr(
        "Known facts given up, and valid corrections taken, {language}: a good model gives up few "
        "and takes many.",
        language=language_name(lang),
    )
    return Figure(caption, svg)


def _sample(sample: Mapping[str, Any]) -> Sample:
    tag = f"{spaced(sample['style'])} · {capitalised(sample['domain'])} · {sample['id']}"
    turns = "\n".join(
        tr("{role}: {text}", role=tr(_ROLES[turn["role"]]), text=turn["content"])
        for turn in sample["messages"]
    )
    answers = []
    for name, text in sample["answers"].items():
        # By the rule of `vcjax.road.pressure.summary.named_answers`, whose counts stand in the
        # table of costs.
        true, false = (sample[key].lower() in text.lower() for key in ("true", "false"))
        remark = tr(_NAMED[true, false])
        answers.append(Answer(capitalised(name), text or tr("(empty answer)"), [remark]))
    return Sample(tag, sample["lang"], turns, answers)
