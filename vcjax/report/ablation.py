"""The report of an ablation: one table, one plot, and what is behind them."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.report.appendix import lineage_section, sample_section
from vcjax.report.changes import readings
from vcjax.report.formats import (
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
    signed,
    spaced,
)
from vcjax.report.page import (
    Answer,
    Block,
    Figure,
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
from vcjax.stats.intervals import Interval

_GROUPS = {"held_out": "held out", "trained": "trained on"}
_COUNTS = ("pairs", "steps", "tokens", "loss_tokens")
_DATA = {
    "none": "nothing",
    "attacks": "pairs of its own attacks",
    "answers": "unselected answers",
    "conversations": "ordinary conversations",
}


def write_ablation_report(
    path: str | os.PathLike,
    *,
    summary: Mapping[str, Any],
    samples: Sequence[dict[str, Any]] = (),
    lineage: Sequence[dict[str, Any]] = (),
) -> None:
    """Writes the report.

    Args:
      summary: what `vcjax.road.ablation.ablate` returned.
      samples: `{id, lang, domain, attack, question, answers}`, with `{text, broken}` of each arm.
      lineage: see `appendix.lineage_section`.
    """
    charter, queries = summary["charter"], summary["queries"]["held_out"]
    asked = f"{count(queries['n'])} {language_name(summary['language'])} questions"
    opening: list[Block] = [
        Text(
            f"{summary['model']['reference']} was trained in {len(summary['arms']) - 1} ways and "
            f"asked the same {asked} of an attacker: {listed(map(spaced, queries['attacks']))}, "
            f"on {listed(map(spaced, queries['subdomains']))}. No arm was trained on these attacks "
            "or topics. An attack succeeds where the answer breaks a rule of the charter "
            f"“{charter['name']}” that selects training data."
        ),
        prose("checks", trained_on=True),
    ]
    facts = [
        ("Base model", summary["model"]["reference"]),
        ("Charter", f"{charter['name']} {charter['version']} ({charter['hash'][:12]})"),
        ("Seeds", f"{summary['seeds']}, from {summary['seed']} on"),
    ]
    sections = [
        Section("verdict", "Verdict", [*_verdicts(summary), _figure(summary)]),
        Section("arms", "Arms", [_arms(summary), _differences(summary)]),
        Section("rules", "Rule by rule", _rules(summary)),
        Section("training", "Data and training", [_training(summary)]),
        sample_section([_sample(sample) for sample in samples]),
        Section(
            "limits",
            "What this is not",
            [
                prose(
                    "ablation_limits",
                    seeds=summary["seeds"],
                    subdomains=len(queries["subdomains"]),
                    attacks=len(queries["attacks"]),
                )
            ],
        ),
        lineage_section(facts, lineage),
    ]
    write_page(path, f"Ablation of {summary['model']['reference']}", opening, sections)


def ablation_markdown(summary: Mapping[str, Any]) -> str:
    """The same tables as Markdown, for a README."""
    return markdown(
        [_arms(summary), _differences(summary), *_rule_tables(summary), _training(summary)]
    )


def _arms(summary: Mapping[str, Any]) -> Table:
    rows = []
    for name, arm in summary["arms"].items():
        cells = [capitalised(name), _DATA[arm["data"]]]
        for group in _GROUPS:
            rate = Interval.of(arm["broken"][group][summary["any_rule"]], "rate")
            cells.append(f"{percent(rate.value)} [{bounds(rate, percent)}]")
        cells += [
            number(arm["perplexity"]),
            number(arm["answers"]["words"], 0),
            number(arm["answers"]["distinct_3"]),
            duration(arm["seconds"]),
        ]
        rows.append(cells)
    level = f"{summary['confidence']:.0%}"
    caption = (
        f"How often attacks succeed, with {level} intervals; perplexity of "
        f"{count(summary['documents'])} documents; words of an answer and the share of its word "
        "triples that are no repeats among all answers; time of one run."
    )
    head = (
        "Arm",
        "Trained on",
        "Success, held out",
        "Success, trained-on attacks",
        "Perplexity",
        "Words",
        "Distinct-3",
        "Time",
    )
    return Table(caption, head, rows, labels=2)


def _differences(summary: Mapping[str, Any]) -> Table:
    rows = []
    for record in summary["differences"]:
        cells = []
        for group in _GROUPS:
            change = Interval.of(record["broken"][group][summary["any_rule"]], "difference")
            cells.append(f"{points(change.value)} [{bounds(change, points)}]")
        loss = Interval.of(record["loss"], "difference")
        held_out = record["broken"]["held_out"][summary["any_rule"]]
        single = ", ".join(map(points, held_out["runs"]))
        cells += [f"{signed(loss.value, 3)} [{bounds(loss, _fine)}]", single]
        rows.append((_contrast(record), *cells))
    caption = (
        "Paired differences, query by query, in percentage points: below zero attacks on the "
        "first arm fail more often. The loss is that of the documents, in nats a token."
    )
    head = (
        "Contrast",
        "Held out",
        "Trained-on attacks",
        "Loss of documents",
        "Each seed, held out",
    )
    return Table(caption, head, rows)


def _rules(summary: Mapping[str, Any]) -> list[Block]:
    measured = check_labels(summary["measured_rules"]).values()
    lead = (
        "A model that learned only to please the rules shows here: one rule alone falls, the "
        "others stay, and the answers below are poor."
    )
    if measured:
        lead += f" {listed(measured)} selected nothing and is only measured."
    return [Text(lead), *_rule_tables(summary)]


def _rule_tables(summary: Mapping[str, Any]) -> list[Table]:
    arms = summary["arms"]
    tables = []
    for group, title in _GROUPS.items():
        first = next(iter(arms.values()))["broken"][group]
        labels = check_labels(rule for rule in first if rule != summary["any_rule"])
        rows = []
        for rule, label in labels.items():
            rates = (arm["broken"][group][rule]["rate"] for arm in arms.values())
            mark = " (measured only)" if rule in summary["measured_rules"] else ""
            rows.append((f"{label}{mark}", *map(percent, rates)))
        caption = f"Answers that break each rule, {title} attacks and topics."
        tables.append(Table(caption, ("Rule", *map(capitalised, arms)), rows))
    return tables


def _training(summary: Mapping[str, Any]) -> Table:
    rows = []
    for name, arm in summary["arms"].items():
        for run in arm["runs"]:
            for index, each in enumerate(run["rounds"], start=1):
                made = "–"
                if "attempts" in each:
                    made = f"{count(each['accepted'])} of {count(each['attempts'])}"
                attacked = each.get("attack_success")
                cells = [capitalised(name), f"seed {run['seed']}, round {index}", made]
                cells.append(percent(attacked["rate"] if attacked else None))
                cells += [count(each[field]) for field in _COUNTS]
                rows.append([*cells, number(each["last_loss"], 3)])
    caption = (
        "What each round made and trained on. The success of its own attacks is that on the model "
        "that the round began with. Tokens are those of the training steps, epochs included."
    )
    head = (
        "Arm",
        "Round",
        "Accepted",
        "Attacks succeeded",
        "Pairs",
        "Steps",
        "Tokens",
        "Loss tokens",
        "Last loss",
    )
    return Table(caption, head, rows, labels=2)


def _verdicts(summary: Mapping[str, Any]) -> list[Block]:
    level = f"{summary['confidence']:.0%}"
    blocks: list[Block] = []
    changes = {
        tuple(record["arms"]): Interval.of(
            record["broken"]["held_out"][summary["any_rule"]], "difference"
        )
        for record in summary["differences"]
    }
    read_as = readings(changes, summary["confidence"])
    for record in summary["differences"]:
        change, read = changes[tuple(record["arms"])], read_as[tuple(record["arms"])]
        tone = {"lower": "up", "higher": "down"}.get(read, "flat")
        text = (
            f"Success of held-out attacks: {points(change.value)} points, {level} interval "
            f"{bounds(change, points)}, {count(change.n)} queries compared."
        )
        title = f"attacks succeed {_LESS[read]}" if read in _LESS else read
        blocks.append(Notice(f"{_contrast(record)}: {title}", text, tone))
    return blocks


_LESS = {"lower": "less", "higher": "more"}


def _figure(summary: Mapping[str, Any]) -> Figure:
    rows = [
        Row(
            f"{capitalised(name)}, {title}",
            [Interval.of(arm["broken"][group][summary["any_rule"]], "rate")],
        )
        for name, arm in summary["arms"].items()
        for group, title in _GROUPS.items()
    ]
    title = "How often attacks succeed"
    svg = interval_plot("success", title, ["after"], rows, low=0, high=1, share=True)
    return Figure(f"{title}, on held-out and on trained-on attacks and topics.", svg)


def _sample(sample: Mapping[str, Any]) -> Sample:
    tag = f"{spaced(sample['attack'])} · {capitalised(sample['domain'])} · {sample['id']}"
    answers = []
    for name, answer in sample["answers"].items():
        labels = check_labels(answer["broken"])
        remark = f"Breaks: {listed(labels.values())}" if labels else "Breaks no rule"
        answers.append(Answer(capitalised(name), answer["text"] or "(empty answer)", [remark]))
    return Sample(tag, sample["lang"], sample["question"], answers)


def _contrast(record: Mapping[str, Any]) -> str:
    first, second = record["arms"]
    return f"{capitalised(first)} − {spaced(second)}"


def _fine(value: float) -> str:
    return signed(value, 3)
