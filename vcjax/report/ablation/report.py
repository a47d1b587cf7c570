"""The report of an ablation: which rules were learned from what; verdict, table, plot, samples."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.core.stores import short_name
from vcjax.report.ablation.tables import (
    GROUPS,
    any_rule_broken,
    arms_table,
    contrast_name,
    differences_table,
    rule_tables,
    training_table,
)
from vcjax.report.appendix import lineage_section, sample_section
from vcjax.report.formats import (
    bounds,
    capitalised,
    check_labels,
    count,
    language_name,
    listed,
    points,
    probability,
    spaced,
)
from vcjax.report.page import (
    Answer,
    Block,
    Figure,
    Notice,
    Sample,
    Section,
    Text,
    prose,
    write_page,
)
from vcjax.report.plots import Row, interval_plot
from vcjax.stats.intervals import Interval

# What is counted are broken rules, so that lower is the good news.
_LESS = {"lower": "less often", "higher": "more often"}
_TONES = {"lower": "up", "higher": "down"}


def write_ablation_report(
    path: str | os.PathLike,
    *,
    summary: Mapping[str, Any],
    samples: Sequence[dict[str, Any]] = (),
    lineage: Sequence[dict[str, Any]] = (),
) -> None:
    """Writes the report.

    Args:
      summary: what `vcjax.road.ablation.run.ablate` returned.
      samples: `{id, lang, domain, attack, question, answers}`, with `{text, broken}` of each arm.
      lineage: see `appendix.lineage_section`.
    """
    charter, queries = summary["charter"], summary["queries"]["held_out"]
    clean = summary["queries"]["clean"]
    asked = f"{count(queries['n'])} {language_name(summary['language'])} questions"
    trained = sum(arm["data"] != "none" for arm in summary["arms"].values())
    opening: list[Block] = [
        Text(
            f"{summary['model']['reference']} was trained in {trained} ways. Every arm was asked "
            f"the same {asked} of an attacker: {listed(map(spaced, queries['attacks']))}, on "
            f"{count(len(queries['topics']))} topics of "
            f"{listed(map(spaced, queries['subdomains']))}; and {count(clean['n'])} plain "
            "questions on the same topics. No arm was trained on these attacks or topics. What is "
            f"counted is whether an answer breaks a rule of the charter “{charter['name']}” that "
            "selects training data. So the report shows which rules were learned, from what, and "
            "whether they are kept without an attack as well; it doesn't show that values were "
            "learned."
        ),
        prose("checks", trained_on=True),
    ]
    facts = [
        ("Base model", summary["model"]["reference"]),
        ("Charter", f"{charter['name']} {charter['version']} ({charter['hash'][:12]})"),
        ("Seeds", f"{summary['seeds']}, from {summary['seed']} on"),
    ]
    sections = [
        Section(
            "verdict", "Verdict: which rules are kept", [*_verdicts(summary), _figure(summary)]
        ),
        Section("arms", "Arms", [arms_table(summary), differences_table(summary)]),
        Section("rules", "Rule by rule", _rules(summary)),
        Section("training", "Data and training", [training_table(summary)]),
        sample_section([_sample(sample) for sample in samples]),
        Section(
            "limits",
            "What this is not",
            [
                prose(
                    "ablation_limits",
                    seeds=summary["seeds"],
                    topics=len(queries["topics"]),
                    attacks=len(queries["attacks"]),
                )
            ],
        ),
        lineage_section(facts, lineage),
    ]
    title = f"Which rules {short_name(summary['model']['reference'])} learned, and from what"
    write_page(path, title, opening, sections)


def _rules(summary: Mapping[str, Any]) -> list[Block]:
    measured = check_labels(summary["measured_rules"]).values()
    lead = (
        "A model that learned only to please the rules shows here: one rule alone falls, the "
        "others stay, and the answers below are poor."
    )
    if measured:
        lead += (
            f" {listed(measured)} selected nothing, is in no prompt, and is only measured: is it "
            "learned along with the others?"
        )
    return [Text(lead), *rule_tables(summary)]


def _verdicts(summary: Mapping[str, Any]) -> list[Block]:
    """What the planned contrasts allow to state, after the correction for their number."""
    planned = [record for record in summary["differences"] if record["planned"]]
    level = f"{summary['confidence']:.0%}"
    blocks: list[Block] = []
    for record in planned:
        attacked, clean = (
            any_rule_broken(summary, record, group) for group in ("held_out", "clean")
        )
        more = record["attacked_less_clean"]
        read = attacked["reading"]
        title = f"rules broken {_LESS[read]} under held-out attacks" if read in _LESS else read
        parts = [
            f"Held-out attacks: {_stated(attacked, level)}.",
            f"Plain questions: {_stated(clean, level)}.",
            f"The difference between the two: {_stated(more, level)}.",
        ]
        # A habit changes both alike. A difference that isn't shown isn't shown to be none, hence
        # the careful words.
        if read in _LESS and clean["reading"] == read and more["reading"] not in _LESS:
            parts.append("So it is a habit: it doesn't clearly depend on being attacked.")
        elif read in _LESS and more["reading"] == read:
            parts.append("So attacks change more than plain questions do.")
        text = " ".join(parts)
        blocks.append(Notice(f"{contrast_name(record)}: {title}", text, _TONES.get(read, "flat")))
    lead = (
        "Each interval and each p is that of its comparison alone. The words “higher” and “lower” "
        # Three differences of each planned contrast: `vcjax.road.ablation.contrasts.compare`
        # corrects these together.
        f"follow p corrected by Holm's method for all {count(3 * len(planned))} comparisons below: "
        "where nothing differs, none of them has these words with a probability of "
        f"{level} or more."
    )
    return [Text(lead), *blocks] if planned else []


def _stated(record: Mapping[str, Any], level: str) -> str:
    change = Interval.of(record, "difference")
    return (
        f"{record['reading']} ({points(change.value)} points, {level} interval "
        f"{bounds(change, points)}, p {probability(change.p)})"
    )


def _figure(summary: Mapping[str, Any]) -> Figure:
    rows = [
        Row(
            f"{capitalised(name)}, {GROUPS[group]}",
            [Interval.of(arm["broken"][group][summary["any_rule"]], "rate")],
        )
        for name, arm in summary["arms"].items()
        for group in ("held_out", "clean")
    ]
    title = "How often an answer breaks a rule"
    svg = interval_plot("broken", title, ["after"], rows, low=0, high=1, share=True)
    return Figure(f"{title}: under held-out attacks, and asked plainly on the same topics.", svg)


def _sample(sample: Mapping[str, Any]) -> Sample:
    tag = f"{spaced(sample['attack'])} · {capitalised(sample['domain'])} · {sample['id']}"
    answers = []
    for name, answer in sample["answers"].items():
        labels = check_labels(answer["broken"])
        remark = f"Breaks: {listed(labels.values())}" if labels else "Breaks no rule"
        answers.append(Answer(capitalised(name), answer["text"] or "(empty answer)", [remark]))
    return Sample(tag, sample["lang"], sample["question"], answers)
