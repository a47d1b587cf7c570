"""The report of an ablation: one table, one plot, and what stands behind them."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.report.blocks import Answer, Block, Figure, Notice, Points, Sample, Section, Table, Text
from vcjax.report.caveats import checks_notice
from vcjax.report.estimates import Estimate
from vcjax.report.names import check_labels, join, language, words
from vcjax.report.numbers import count, duration, interval, number, percent, points, signed
from vcjax.report.page import write_page
from vcjax.report.plots import Row, intervals
from vcjax.report.provenance import provenance_section
from vcjax.report.samples import sample_section
from vcjax.report.verdict import NO_CHANGE, reading

_GROUPS = {"held_out": "held out", "trained": "trained on"}
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
      lineage: see `provenance.provenance_section`.
    """
    charter, queries = summary["charter"], summary["queries"]["held_out"]
    asked = f"{count(queries['n'])} {language(summary['language'])} questions"
    opening: list[Block] = [
        Text(
            f"{summary['model']['reference']} was trained in {len(summary['arms']) - 1} ways and "
            f"asked the same {asked} of an attacker: {join(map(_small, queries['attacks']))}, "
            f"on {join(map(_small, queries['subdomains']))}. No arm was trained on these attacks "
            "or topics. An attack succeeds where the answer breaks a rule of the charter "
            f"“{charter['name']}” that selects training data."
        ),
        checks_notice(trained_on=True),
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
        Section("limits", "What this is not", [Points(_limits(summary))]),
        provenance_section(facts, lineage),
    ]
    write_page(path, f"Ablation of {summary['model']['reference']}", opening, sections)


def ablation_markdown(summary: Mapping[str, Any]) -> str:
    """The same tables as Markdown, for a README."""
    tables = [_arms(summary), _differences(summary), *_rule_tables(summary), _training(summary)]
    return "\n".join(map(_markdown, tables))


def _arms(summary: Mapping[str, Any]) -> Table:
    rows = []
    for name, arm in summary["arms"].items():
        rates = (
            Estimate.of(arm["broken"][group][summary["any_rule"]], "rate") for group in _GROUPS
        )
        answers = arm["answers"]
        rows.append(
            (
                *(words(name), _DATA[arm["data"]]),
                *(f"{percent(rate.value)} [{_range(rate)}]" for rate in rates),
                *(number(arm["perplexity"]), number(answers["words"], 0)),
                *(number(answers["distinct_3"]), duration(arm["seconds"])),
            )
        )
    level = f"{summary['confidence']:.0%}"
    caption = (
        f"How often attacks succeed, with {level} intervals; perplexity of "
        f"{count(summary['documents'])} documents; words of an answer and the share of its word "
        "triples that are no repeats among all answers; time of one run."
    )
    head = (
        *("Arm", "Trained on", "Success, held out", "Success, trained-on attacks"),
        *("Perplexity", "Words", "Distinct-3", "Time"),
    )
    return Table(caption, head, rows, labels=2)


def _differences(summary: Mapping[str, Any]) -> Table:
    rows = []
    for record in summary["differences"]:
        cells = []
        for group in _GROUPS:
            change = Estimate.of(record["broken"][group][summary["any_rule"]], "difference")
            cells.append(f"{points(change.value)} [{_range(change, points)}]")
        loss = Estimate.of(record["loss"], "difference")
        held_out = record["broken"]["held_out"][summary["any_rule"]]
        single = ", ".join(map(points, held_out["runs"]))
        cells += [f"{signed(loss.value, 3)} [{_range(loss, _fine)}]", single]
        rows.append((_contrast(record), *cells))
    caption = (
        "Paired differences, query by query, in percentage points: below zero the first arm "
        "withstands more. The loss is that of the documents, in nats a token."
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
        lead += f" {join(measured)} selected nothing and is only measured."
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
        tables.append(Table(caption, ("Rule", *map(words, arms)), rows))
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
                rows.append(
                    (
                        *(words(name), f"seed {run['seed']}, round {index}", made),
                        percent(attacked["rate"] if attacked else None),
                        *(count(each[field]) for field in ("pairs", "steps", "tokens")),
                        *(count(each["loss_tokens"]), number(each["last_loss"], 3)),
                    )
                )
    caption = (
        "What each round made and trained on. The success of its own attacks is that on the model "
        "that the round began with. Tokens are those of the training steps, epochs included."
    )
    head = (
        *("Arm", "Round", "Accepted", "Attacks succeeded", "Pairs", "Steps", "Tokens"),
        *("Loss tokens", "Last loss"),
    )
    return Table(caption, head, rows, labels=2)


def _verdicts(summary: Mapping[str, Any]) -> list[Block]:
    level = f"{summary['confidence']:.0%}"
    blocks: list[Block] = []
    for record in summary["differences"]:
        change = Estimate.of(record["broken"]["held_out"][summary["any_rule"]], "difference")
        said = reading(change)
        tone = {"lower": "up", "higher": "down"}.get(said, "flat")
        text = (
            f"Success of held-out attacks: {points(change.value)} points, {level} interval "
            f"{_range(change, points)}, {count(change.n)} queries compared."
        )
        title = said if said == NO_CHANGE else f"attacks succeed {_LESS.get(said, said)}"
        blocks.append(Notice(f"{_contrast(record)}: {title}", text, tone))
    return blocks


_LESS = {"lower": "less", "higher": "more"}


def _figure(summary: Mapping[str, Any]) -> Figure:
    rows = [
        Row(
            f"{words(name)}, {title}",
            [Estimate.of(arm["broken"][group][summary["any_rule"]], "rate")],
        )
        for name, arm in summary["arms"].items()
        for group, title in _GROUPS.items()
    ]
    title = "How often attacks succeed"
    svg = intervals("success", title, ["after"], rows, low=0, high=1, share=True)
    return Figure(f"{title}, on held-out and on trained-on attacks and topics.", svg)


def _sample(sample: Mapping[str, Any]) -> Sample:
    tag = f"{_small(sample['attack'])} · {words(sample['domain'])} · {sample['id']}"
    answers = []
    for name, answer in sample["answers"].items():
        labels = check_labels(answer["broken"])
        said = f"Breaks: {join(labels.values())}" if labels else "Breaks no rule"
        answers.append(Answer(words(name), answer["text"] or "(empty answer)", [said]))
    return Sample(tag, sample["lang"], sample["question"], answers)


def _limits(summary: Mapping[str, Any]) -> list[str]:
    queries = summary["queries"]["held_out"]
    seeds = (
        "One seed: the intervals cover the choice of questions, not what other seeds would change."
        if summary["seeds"] == 1
        else f"{summary['seeds']} seeds: the intervals resample them with the questions, but so "
        "few say little of how seeds differ."
    )
    return [
        seeds,
        f"Questions of {len(queries['subdomains'])} held-out subdomains and "
        f"{len(queries['attacks'])} held-out attacks: those of one topic are alike, and other "
        "topics may come out otherwise.",
        "The questions are what the attacker's model wrote; a small one's make little sense at "
        "times.",
        "Rules decide, not people: an answer can pass all of them and be worthless. Read the "
        "samples.",
        "Single questions: neither conversations nor attacks that adapt to the answers are "
        "measured.",
    ]


def _contrast(record: Mapping[str, Any]) -> str:
    first, second = record["arms"]
    return f"{words(first)} − {second.replace('_', ' ')}"


def _range(estimate: Estimate, show: Any = percent) -> str:
    return interval(estimate.low, estimate.high, show)


def _fine(value: float | None) -> str:
    return signed(value, 3)


def _small(name: str) -> str:
    return name.replace("_", " ")


def _markdown(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"

    rule = ["---" if n < table.labels else "--:" for n in range(len(table.head))]
    rows = [line(table.head), line(rule), *map(line, table.rows)]
    return "\n".join([table.caption, "", *rows, ""])
