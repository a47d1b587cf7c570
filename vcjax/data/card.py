"""The card of a prepared dataset: what it is, in figures, for a person who finds the folder."""

from collections.abc import Mapping
from typing import Any


def dataset_card(name: str, summary: Mapping[str, Any]) -> str:
    """Markdown made from the summary alone."""
    split = "cut into pieces" if summary["kind"] == "documents" else "cut off at the end"
    cut = summary["split"] if summary["kind"] == "documents" else summary["truncated"]
    why, form, pair = "no token to predict", "Packed", []
    if summary["kind"] == "preferences":
        why, form = "no answers that differ within a row", "Padded"
        pair = ["Each is two lines: the chosen answer after its prompt, then the rejected one."]
    figures = [
        ("examples", summary["examples"]),
        *_by_turn(summary),
        (f"of them longer than a row, {split}", cut),
        (f"of them dropped: {why}", summary["dropped"]),
        ("exact duplicates left out before", summary["duplicates"]),
        ("bad records set aside before", summary["quarantined"]),
        ("records of held-out domains, left out", summary["held_out"]),
        *((f"rows {reason}, left out", count) for reason, count in summary["left_out"].items()),
        ("labelled answers without a pair, left out", summary["unpaired"]),
        *((f"tool turns {what.replace('_', ' ')}", n) for what, n in summary["tool_turns"].items()),
        ("rows", summary["rows"]),
        ("tokens in a row", summary["length"]),
        ("tokens without padding", summary["tokens"]),
        ("tokens that are predicted", summary["loss_tokens"]),
        ("fill", f"{summary['fill']:.1%}"),
    ]
    lines = [
        f"# {name}",
        "",
        f"{form} rows of {summary['kind']}, for training with `vcjax`.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {label} | {value} |" for label, value in figures),
        *_table("language", summary["languages"]),
        *_table("domain", summary["domains"]),
        *(
            _table("column not read", unread, "rows")
            if (unread := summary["columns_not_read"])
            else []
        ),
        "",
        "A row has `tokens`, `loss_mask`, `segment_ids` and `positions`. `loss_mask` is true where",
        "the token is to be predicted; segments count from 1, and 0 is padding.",
        *pair,
        "",
        f"Tokenizer (SHA-256): `{summary['tokenizer']}`.",
        "",
        "The rows are a TFDS dataset in ArrayRecord files: `vcjax.data.prepared.open_prepared`, or",
        "`tfds.builder_from_directory(folder).as_data_source('train')`, reads them.",
        "",
        "A record that is both trained and validated on is found by the hashes of all records,",
        "`digests.bin`, and the first and last 500 characters of each, `samples.jsonl.zst`.",
        "",
        "The licence is that of the source texts. It is not recorded here.",
    ]
    return "\n".join(lines) + "\n"


def _by_turn(summary: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Shown where it happened: there are more examples than records then."""
    count = summary["by_turn"]
    label = "conversations with an example for each turn: the chat template rewrites earlier turns"
    return [(label, count)] if count else []


def _table(title: str, counts: Mapping[str, int], what: str = "examples") -> list[str]:
    rows = [f"| {name} | {count} |" for name, count in counts.items()]
    return ["", f"| {title} | {what} |", "|---|---|", *rows]


def losses(summary: Mapping[str, Any], held_out: bool = False) -> list[str]:
    """What is not in the rows though it was in the data, one line each; for the screen.

    Args:
      summary: of a prepared dataset; those of earlier versions lack some counts.
      held_out: whether domains are held out; a record without one can't be.
    """
    kind, examples = summary["kind"], summary["examples"]
    cut = summary["truncated"]
    lines = [
        f"{cut} of {examples} {kind} ({cut / max(1, examples):.0%}) are longer than a row of "
        f"{summary['length']} tokens: their end is cut off; raise the length"
    ] * bool(cut)
    for field, what in (
        ("dropped", "dropped: nothing to learn is left of them in a row"),
        ("quarantined", "set aside as bad records: see quarantined.jsonl"),
        ("duplicates", "left out as exact duplicates"),
        ("held_out", "left out: the charter holds their domains out"),
        ("unpaired", "labelled answers left out: no answer to their prompt has the other label"),
    ):
        if count := summary.get(field, 0):
            lines.append(f"{count} {what}")
    lines += [f"{n} rows left out: {why}" for why, n in summary.get("left_out", {}).items()]
    for what, count in summary.get("tool_turns", {}).items():
        lines.append(f"{count} tool turns {what.replace('_', ' ')} (config.tool_turns)")
    if unread := summary.get("columns_not_read", {}):
        named = ", ".join(f"{name} ({count} rows)" for name, count in unread.items())
        lines.append(f"columns not read: {named}")
    if held_out and (without := summary["domains"].get("none", 0)):
        lines.append(
            f"{without} of {examples} {kind} have no domain: none of them can be held out "
            "(config.require_domain=True makes that an error)"
        )
    return lines
