"""The common public layouts of each kind of record, and how each maps to our schema."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from vcjax.data.records import KINDS, BadRecord

Row = dict[str, Any]

# ShareGPT's names of the speakers and of its descendants.
SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "system": "system",
}

# Columns of public data sets with our name for what they hold, the most specific first.
QUESTION_COLUMNS = ("question", "prompt", "问题", "text")
DOMAIN_COLUMNS = ("domain_en", "category", "违规类型")
ID_COLUMNS = ("id_", "ID")


@dataclass(frozen=True)
class Layout:
    """One public layout.

    Attributes:
      name: what it is called, with its columns; shown when a file fits no layout.
      columns: the columns that a row must have to be of this layout.
      convert: row -> fields of the record; may raise BadRecord.
    """

    name: str
    columns: tuple[str, ...]
    convert: Callable[[Row], Row]

    def fits(self, row: Row) -> bool:
        return all(column in row for column in self.columns)


def _alpaca(row: Row) -> Row:
    prompt = _alpaca_prompt(row)
    answer = {"role": "assistant", "content": _optional_text(row["output"])}
    return {"messages": [*prompt, answer]}


def _alpaca_prompt(row: Row) -> list[Row]:
    # Source of the prompt's form: Stanford Alpaca, without its English preamble, as in
    # LLaMA-Factory: the instruction, and the input on the next line.
    asked = [row["instruction"], row.get("input")]
    asked = "\n".join(_optional_text(part) for part in asked if part)
    messages = []
    if system := row.get("system"):
        messages.append({"role": "system", "content": system})
    for turn in row.get("history") or ():
        if not isinstance(turn, list) or len(turn) != 2:
            raise BadRecord("field 'history' must be a list of [question, answer] pairs")
        messages += [
            {"role": "user", "content": turn[0]},
            {"role": "assistant", "content": turn[1]},
        ]
    messages.append({"role": "user", "content": asked})
    return messages


def _optional_text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRecord(
            f"instruction, input and output must be strings, not {type(value).__name__}"
        )
    return value


def _sharegpt(row: Row) -> Row:
    turns = row["conversations"]
    if not isinstance(turns, list):
        raise BadRecord(f"field 'conversations' must be a list, not {type(turns).__name__}")
    return {"messages": [_sharegpt_turn(turn) for turn in turns]}


def _sharegpt_turn(turn: Any) -> Row:
    if not isinstance(turn, dict) or not {"from", "value"} <= turn.keys():
        raise BadRecord("each turn of 'conversations' must have 'from' and 'value'")
    if turn["from"] not in SPEAKERS:
        raise BadRecord(f"unknown speaker {turn['from']!r} (known: {', '.join(SPEAKERS)})")
    return {"role": SPEAKERS[turn["from"]], "content": turn["value"]}


def _answer(value: Any, field: str) -> Any:
    """The text of an answer given as text, a message, a ShareGPT turn or a list ending in one."""
    if isinstance(value, list) and value:
        value = value[-1]
    if isinstance(value, dict):
        message = _sharegpt_turn(value) if "from" in value else value
        if message.get("role") != "assistant":
            raise BadRecord(f"field {field!r} must be an assistant turn")
        return message.get("content")
    return value


def _pair(row: Row, messages: Any) -> Row:
    """The answers to `messages`, unless they come as whole conversations, prompt included."""
    if any(isinstance(row[name], list) and len(row[name]) > 1 for name in ("chosen", "rejected")):
        return _transcripts(row)
    return {"messages": messages} | {n: _answer(row[n], n) for n in ("chosen", "rejected")}


def _prompt_pair(row: Row) -> Row:
    prompt = row["prompt"]
    return _pair(row, prompt if isinstance(prompt, list) else [_user(prompt)])


def _question_pair(row: Row) -> Row:
    system = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    return _pair(row, [*system, _user(row["question"])])


def _user(content: Any) -> Row:
    return {"role": "user", "content": content}


def _transcripts(row: Row) -> Row:
    chosen, rejected = (_turns(row[name], name) for name in ("chosen", "rejected"))
    if chosen[:-1] != rejected[:-1]:
        raise BadRecord("chosen and rejected differ before the last answer")
    return {
        "messages": chosen[:-1],
        "chosen": chosen[-1]["content"],
        "rejected": rejected[-1]["content"],
    }


def _turns(transcript: Any, field: str) -> list[Row]:
    """A conversation that ends with an answer: messages, ShareGPT turns, or hh-rlhf's text,
    `\\n\\nHuman: ...\\n\\nAssistant: ...`."""
    if isinstance(transcript, list) and transcript:
        *before, last = transcript
        turns = [_sharegpt_turn(t) if isinstance(t, dict) and "from" in t else t for t in before]
        return [*turns, {"role": "assistant", "content": _answer(last, field)}]
    if not isinstance(transcript, str):
        raise BadRecord(f"field {field!r} must be a string, not {type(transcript).__name__}")
    before, *parts = re.split(r"(?:^|\n\n)(Human|Assistant):", transcript)
    speakers, texts = parts[::2], parts[1::2]
    if before.strip() or not speakers or speakers[-1] != "Assistant":
        raise BadRecord(f"field {field!r} is no 'Human: ... Assistant: ...' transcript")
    roles = {"Human": "user", "Assistant": "assistant"}
    return [
        {"role": roles[speaker], "content": text.strip()}
        for speaker, text in zip(speakers, texts, strict=True)
    ]


def _column(column: str, field: str) -> Callable[[Row], Row]:
    return lambda row: {field: row[column]}


LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "documents": (Layout("text", ("text",), _column("text", "text")),),
    "conversations": (
        Layout("messages (role, content)", ("messages",), _column("messages", "messages")),
        Layout("ShareGPT: conversations (from, value)", ("conversations",), _sharegpt),
        Layout("alpaca: instruction, input, output", ("instruction", "output"), _alpaca),
    ),
    "preferences": (
        Layout(
            "messages, chosen, rejected",
            ("messages", "chosen", "rejected"),
            lambda row: _pair(row, row["messages"]),
        ),
        Layout(
            "DPO: conversations (from, value), chosen, rejected",
            ("conversations", "chosen", "rejected"),
            lambda row: _pair(row, _sharegpt(row)["messages"]),
        ),
        Layout("prompt, chosen, rejected", ("prompt", "chosen", "rejected"), _prompt_pair),
        Layout("question, chosen, rejected", ("question", "chosen", "rejected"), _question_pair),
        Layout(
            "alpaca: instruction, chosen, rejected",
            ("instruction", "chosen", "rejected"),
            lambda row: _pair(row, _alpaca_prompt(row)),
        ),
        Layout(
            "chosen, rejected (conversations, or hh-rlhf's Human:/Assistant: transcripts)",
            ("chosen", "rejected"),
            _transcripts,
        ),
    ),
    "questions": tuple(
        Layout(column, (column,), _column(column, "question")) for column in QUESTION_COLUMNS
    ),
    "benchmark": (
        Layout(
            "parallel_id, domain, question",
            ("parallel_id", "domain", "question"),
            lambda row: {name: row[name] for name in ("parallel_id", "domain", "question")},
        ),
    ),
}


def convert(layout: Layout, row: Row, kind: str, file_stem: str) -> Row:
    """Maps a row to the fields of `kind`: the layout's own, and whatever else carries our names.

    Other columns are left out, as public sets carry all sorts, but one that is nearly a field of
    ours is passed on, so that the schema can name the misspelling instead of losing the value.
    """
    names = KINDS[kind].field_names()
    missing = [column for column in layout.columns if column not in row]
    if missing:
        raise BadRecord(f"field {missing[0]!r} is missing")
    fields = {"source": file_stem} if "source" in names else {}
    taken = set(layout.columns)
    fields |= {name: row[name] for name in names if name in row and row[name] is not None}
    for column in row:
        near = None if column in names or column in taken else _nearly(column, names)
        if near is not None and near not in row:
            fields[column] = row[column]
    fields |= layout.convert(row)
    if isinstance(fields.get("id"), int):
        fields["id"] = f"{file_stem}-{fields['id']}"
    domain = next((row[column] for column in DOMAIN_COLUMNS if row.get(column)), None)
    if "domain" in names and "domain" not in fields and isinstance(domain, str):
        fields["domain"] = domain
    identity = next((row[column] for column in ID_COLUMNS if row.get(column) is not None), None)
    if "id" not in fields and identity is not None:
        # Public sets number their rows from 1 in each file, so the file's name is part of the id.
        fields["id"] = f"{file_stem}-{identity}"
    return fields


@lru_cache  # rows have the same columns, mostly, and a look-up takes longer than the rest of a row
def _nearly(column: str, names: tuple[str, ...]) -> str | None:
    """The field that a column's name nearly is."""
    return next(iter(get_close_matches(column, names, n=1, cutoff=0.81)), None)
