"""The report of an ablation: which rules were learned from what; verdict, table, plot, samples."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.core.stores import short_name
from vcjax.report.appendix import lineage_section, sample_section
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
    probability,
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

_GROUPS = {
    "held_out": "held-out attacks",
    "clean": "plain questions",
    "trained": "trained-on attacks",
}
_COUNTS = ("pairs", "steps", "tokens", "loss_tokens")
_DATA = {
    "none": "nothing",
    "attacks": "selected answers to its attacks",
    "questions": "selected answers to plain questions",
    "answers": "unselected answers to attacks",
    "conversations": "ordinary conversations",
}
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
                    topics=len(queries["topics"]),
                    attacks=len(queries["attacks"]),
                )
            ],
        ),
        lineage_section(facts, lineage),
    ]
    title = f"Which rules {short_name(summary['model']['reference'])} learned, and from what"
    write_page(path, title, opening, sections)


def ablation_markdown(summary: Mapping[str, Any]) -> str:
    """The same tables as Markdown, for a README."""
    return markdown(
        [_arms(summary), _differences(summary), *_rule_tables(summary), _training(summary)]
    )


def _arms(summary: Mapping[str, Any]) -> Table:
    rows = []
    for name, arm in summary["arms"].items():
        cells = [capitalised(name), _trained_on(arm)]
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
    caption = (
        f"How often an answer breaks a rule, with {summary['confidence']:.0%} intervals by topic; "
        f"perplexity of {count(summary['documents'])} documents that no arm was trained on"
    )
    if left_out := len(summary["documents_left_out"]):
        caption += f" ({count(left_out)} more share a sentence with what one was trained on)"
    caption += (
        "; words of an answer and the share of its word triples that are no repeats among all "
        "answers; time of one run."
    )
    head = (
        "Arm",
        "Trained on",
        *map(capitalised, _GROUPS.values()),
        "Perplexity",
        "Words",
        "Distinct-3",
        "Time",
    )
    return Table(caption, head, rows, labels=2)


def _trained_on(arm: Mapping[str, Any]) -> str:
    return f"{_DATA[arm['data']]}{'; asked with the persona' if arm['persona'] else ''}"


def _differences(summary: Mapping[str, Any]) -> Table:
    rows = []
    for record in summary["differences"]:
        cells = [_change(_broken(summary, record, group)) for group in _GROUPS]
        cells.insert(2, _change(record["attacked_less_clean"]))
        loss = Interval.of(record["loss"], "difference")
        held_out = _broken(summary, record, "held_out")
        single = ", ".join(map(points, held_out["runs"]))
        cells += [f"{signed(loss.value, 3)} [{bounds(loss, _fine)}]", single]
        cells.append(probability(held_out.get("p")) if record["planned"] else "not planned")
        rows.append((_contrast(record), *cells))
    caption = (
        "Paired differences, query by query, in percentage points, with intervals by topic: below "
        "zero the first arm breaks rules less often. “Attacks less plain” is the first column less "
        "the second: near zero, what was learned doesn't depend on attacks. The loss is that of "
        "the documents, in nats a token. p is that of the first column by itself."
    )
    head = (
        "Contrast",
        "Held-out attacks",
        "Plain questions",
        "Attacks less plain",
        "Trained-on attacks",
        "Loss of documents",
        "Each seed, held out",
        "p, held out",
    )
    return Table(caption, head, rows)


def _broken(summary: Mapping[str, Any], difference: Mapping[str, Any], group: str) -> Any:
    return difference["broken"][group][summary["any_rule"]]


def _change(record: Mapping[str, Any]) -> str:
    change = Interval.of(record, "difference")
    return f"{points(change.value)} [{bounds(change, points)}]"


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
        caption = f"Answers that break each rule: {title}."
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
    """What the planned contrasts allow to state, after the correction for their number."""
    planned = [record for record in summary["differences"] if record["planned"]]
    level = f"{summary['confidence']:.0%}"
    blocks: list[Block] = []
    for record in planned:
        attacked, clean = (_broken(summary, record, group) for group in ("held_out", "clean"))
        more = record["attacked_less_clean"]
        read = attacked["reading"]
        title = f"rules broken {_LESS[read]} under held-out attacks" if read in _LESS else read
        parts = [
            f"Held-out attacks: {_stated(attacked, level)}.",
            f"Plain questions: {_stated(clean, level)}.",
            f"The difference between the two: {_stated(more, level)}.",
        ]
        if read in _LESS and clean["reading"] == read and more["reading"] not in _LESS:
            parts.append("So it is a habit: it doesn't clearly depend on being attacked.")
        elif read in _LESS and more["reading"] == read:
            parts.append("So attacks change more than plain questions do.")
        text = " ".join(parts)
        blocks.append(Notice(f"{_contrast(record)}: {title}", text, _TONES.get(read, "flat")))
    lead = (
        "Each interval and each p is that of its comparison alone. The words “higher” and “lower” "
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
            f"{capitalised(name)}, {_GROUPS[group]}",
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


def _contrast(record: Mapping[str, Any]) -> str:
    first, second = record["arms"]
    return f"{capitalised(first)} − {spaced(second)}"


def _fine(value: float) -> str:
    return signed(value, 3)
