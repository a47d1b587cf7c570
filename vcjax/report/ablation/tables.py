"""The tables of an ablation: arms, contrasts between them, rules and training."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.formats import (
    DASH,
    bounds,
    capitalised,
    check_labels,
    count,
    duration,
    k_of_n,
    level,
    number,
    percent,
    points,
    probability,
    signed,
    spaced,
)
from vcjax.report.messages import message, tr
from vcjax.report.page import Table, markdown
from vcjax.stats.intervals import Interval

GROUPS = {
    "held_out": message("held-out attacks"),
    "clean": message("plain questions"),
    "trained": message("trained-on attacks"),
}
_HEADS = {
    "held_out": message("Held-out attacks"),
    "clean": message("Plain questions"),
    "trained": message("Trained-on attacks"),
}
_COUNTS = ("pairs", "steps", "tokens", "loss_tokens")
_DATA = {
    "none": message("nothing"),
    "attacks": message("selected answers to its attacks"),
    "questions": message("selected answers to plain questions"),
    "answers": message("unselected answers to attacks"),
    "conversations": message("ordinary conversations"),
}


def ablation_markdown(summary: Mapping[str, Any]) -> str:
    """The same tables as Markdown, for a README."""
    return markdown(
        [
            arms_table(summary),
            differences_table(summary),
            *rule_tables(summary),
            training_table(summary),
        ]
    )


def arms_table(summary: Mapping[str, Any]) -> Table:
    """Arms: what each learned from, how often it breaks a rule, its answers' length and variety."""
    rows = []
    for name, arm in summary["arms"].items():
        cells = [capitalised(name), _trained_on(arm)]
        for group in GROUPS:
            rate = Interval.of(arm["broken"][group][summary["any_rule"]], "rate")
            cells.append(f"{percent(rate.value)} [{bounds(rate, percent)}]")
        cells += [
            number(arm["perplexity"]),
            number(arm["answers"]["words"], 0),
            number(arm["answers"]["distinct_3"]),
            duration(arm["seconds"]),
        ]
        rows.append(cells)
    caption = tr(
        "How often an answer breaks a rule, with {confidence} intervals by topic; perplexity of "
        "{documents} documents that no arm was trained on ({left_out}); words of an answer and the "
        "share of its word triples that are no repeats among all answers; time of one run.",
        confidence=level(summary["confidence"]),
        documents=count(summary["documents"]),
        left_out=left_out_text(len(summary["documents_left_out"])),
    )
    head = (
        tr("Arm"),
        tr("Trained on"),
        *map(tr, _HEADS.values()),
        tr("Perplexity"),
        tr("Words"),
        tr("Distinct-3"),
        tr("Time"),
    )
    return Table(caption, head, rows, labels=2)


def _trained_on(arm: Mapping[str, Any]) -> str:
    data = tr(_DATA[arm["data"]])
    return tr("{data}; asked with the persona", data=data) if arm["persona"] else data


def left_out_text(documents: int) -> str:
    """How many documents aren't measured, as an arm was trained on a sentence of theirs."""
    if not documents:
        return tr("no document shares a sentence with what one was trained on")
    return tr("{n} more share a sentence with what one was trained on", n=count(documents))


def differences_table(summary: Mapping[str, Any]) -> Table:
    """The contrasts between arms, query by query."""
    rows = []
    for record in summary["differences"]:
        cells = [_change(any_rule_broken(summary, record, group)) for group in GROUPS]
        # Third, behind the two columns that it is the difference of.
        cells.insert(2, _change(record["attacked_less_clean"]))
        loss = Interval.of(record["loss"], "difference")
        held_out = any_rule_broken(summary, record, "held_out")
        single = ", ".join(map(points, held_out["runs"]))
        cells += [f"{signed(loss.value, 3)} [{bounds(loss, _fine)}]", single]
        cells.append(probability(held_out.get("p")) if record["planned"] else tr("not planned"))
        rows.append((contrast_name(record), *cells))
    caption = tr(
        "Paired differences, query by query, in percentage points, with intervals by topic: below "
        "zero the first arm breaks rules less often. “Attacks less plain” is the first column less "
        "the second: near zero, what was learned doesn't depend on attacks. The loss is that of "
        "the documents, in nats a token. p is that of the first column by itself."
    )
    head = (
        tr("Contrast"),
        tr(_HEADS["held_out"]),
        tr(_HEADS["clean"]),
        tr("Attacks less plain"),
        tr(_HEADS["trained"]),
        tr("Loss of documents"),
        tr("Each seed, held out"),
        tr("p, held out"),
    )
    return Table(caption, head, rows)


def any_rule_broken(summary: Mapping[str, Any], difference: Mapping[str, Any], group: str) -> Any:
    """The difference between two arms in how often any rule is broken, in a group of questions."""
    return difference["broken"][group][summary["any_rule"]]


def _change(record: Mapping[str, Any]) -> str:
    change = Interval.of(record, "difference")
    return f"{points(change.value)} [{bounds(change, points)}]"


def rule_tables(summary: Mapping[str, Any]) -> list[Table]:
    """How often each arm breaks each rule, a table for each group of questions."""
    arms = summary["arms"]
    tables = []
    for group, title in GROUPS.items():
        first = next(iter(arms.values()))["broken"][group]
        labels = check_labels(rule for rule in first if rule != summary["any_rule"])
        rows = []
        for rule, label in labels.items():
            rates = (arm["broken"][group][rule]["rate"] for arm in arms.values())
            name = tr("{rule} (measured only)", rule=label)
            rows.append(
                (name if rule in summary["measured_rules"] else label, *map(percent, rates))
            )
        caption = tr("Answers that break each rule: {group}.", group=tr(title))
        tables.append(Table(caption, (tr("Rule"), *map(capitalised, arms)), rows))
    return tables


def training_table(summary: Mapping[str, Any]) -> Table:
    """What each round of each run made and trained on."""
    rows = []
    for name, arm in summary["arms"].items():
        for run in arm["runs"]:
            for index, each in enumerate(run["rounds"], start=1):
                made = DASH
                if "attempts" in each:
                    made = k_of_n(each["accepted"], each["attempts"])
                attacked = each.get("attack_success")
                place = tr("seed {seed}, round {round}", seed=run["seed"], round=index)
                cells = [capitalised(name), place, made]
                cells.append(percent(attacked["rate"] if attacked else None))
                cells += [count(each[field]) for field in _COUNTS]
                rows.append([*cells, number(each["last_loss"], 3)])
    caption = tr(
        "What each round made and trained on. The success of its own attacks is that on the model "
        "that the round began with. Tokens are those of the training steps, epochs included."
    )
    head = (
        tr("Arm"),
        tr("Round"),
        tr("Accepted"),
        tr("Attacks succeeded"),
        tr("Training pairs"),
        tr("Steps"),
        tr("Tokens"),
        tr("Loss tokens"),
        tr("Last loss"),
    )
    return Table(caption, head, rows, labels=2)


def contrast_name(record: Mapping[str, Any]) -> str:
    """The two arms of a contrast, as in a table's first column."""
    first, second = record["arms"]
    return f"{capitalised(first)} − {spaced(second)}"


def _fine(value: float) -> str:
    return signed(value, 3)
