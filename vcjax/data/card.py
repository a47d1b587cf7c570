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
        "The licence is that of the source texts. It is not recorded here.",
    ]
    return "\n".join(lines) + "\n"


def _by_turn(summary: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Shown where it happened: there are more examples than records then."""
    count = summary["by_turn"]
    label = "conversations with an example for each turn: the chat template rewrites earlier turns"
    return [(label, count)] if count else []


def _table(title: str, counts: Mapping[str, int]) -> list[str]:
    rows = [f"| {name} | {count} |" for name, count in counts.items()]
    return ["", f"| {title} | examples |", "|---|---|", *rows]
