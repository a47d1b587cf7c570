"""The common public layouts of each kind of record, and how each maps to our schema."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import Any

from vcjax.core.errors import UserError, suggest
from vcjax.data.messages import turn, turns, unread_fields, with_system
from vcjax.data.records import KINDS, BadRecord

Row = dict[str, Any]

# Columns of public data sets with our name for what they hold, the most specific first.
QUESTION_COLUMNS = ("question", "prompt", "问题", "text")
DOMAIN_COLUMNS = ("domain_en", "category", "违规类型")
ID_COLUMNS = ("id_", "ID")
SYSTEM_COLUMNS = ("system", "system_prompt")
TOOLS = "tools"

_TURN_COLUMNS = ("messages", "conversations", "prompt", "completion", "chosen", "rejected")


class LeftOut(Exception):
    """A row that is right, and that no record of the kind is made of; the reason is counted."""


@dataclass(frozen=True)
class Layout:
    """One public layout.

    Attributes:
      name: what it is called, with its columns; shown when a file fits no layout.
      columns: the columns that a row must have to be of this layout.
      convert: row -> fields of the record; may raise BadRecord or LeftOut.
      optional: further columns that `convert` reads.
    """

    name: str
    columns: tuple[str, ...]
    convert: Callable[[Row], Row]
    optional: tuple[str, ...] = ()

    def fits(self, row: Row) -> bool:
        return all(column in row for column in self.columns)


def _user(content: Any) -> Row:
    return {"role": "user", "content": content}


def _assistant(content: Any) -> Row:
    return {"role": "assistant", "content": content}


def _asked(row: Row, instruction: str, *context: str) -> list[Row]:
    # Source of the prompt's form: Stanford Alpaca, without its English preamble, as in
    # LLaMA-Factory: the instruction, and the input on the next line.
    parts = [row[instruction], *(row.get(name) for name in context)]
    asked = "\n".join(_optional_text(part) for part in parts if part)
    messages = []
    for pair in row.get("history") or ():
        if not isinstance(pair, list) or len(pair) != 2:
            raise BadRecord("field 'history' must be a list of [question, answer] pairs")
        messages += [_user(pair[0]), _assistant(pair[1])]
    return [*messages, _user(asked)]


def _optional_text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRecord(
            f"instruction, input and output must be strings, not {type(value).__name__}"
        )
    return value


def _instruction(answer: str, context: str) -> Callable[[Row], Row]:
    def convert(row: Row) -> Row:
        answered = _assistant(_optional_text(row[answer]))
        return {"messages": [*_asked(row, "instruction", context), answered]}

    return convert


def _question(row: Row) -> Row:
    return {"messages": [*_asked(row, "question", "context"), _assistant(row["answer"])]}


def _sharegpt(row: Row) -> Row:
    given = row["conversations"]
    if not isinstance(given, list | dict):
        raise BadRecord(f"field 'conversations' must be a list, not {type(given).__name__}")
    return {"messages": turns(given, "conversations")}


def _prompt(row: Row) -> Any:
    """TRL's prompt: a text, or messages."""
    prompt = row["prompt"]
    return turns(prompt, "prompt") if isinstance(prompt, list | dict) else [_user(prompt)]


def _completion(row: Row) -> list[Row]:
    completion = row["completion"]
    if isinstance(completion, list | dict):
        return turns(completion, "completion")
    return [_assistant(completion)]


def _prompt_completion(row: Row) -> Row:
    return {"messages": [*_prompt(row), *_completion(row)]}


def read_label(value: Any) -> bool:
    """KTO's label: whether the completion is a good one.

    Raises:
      BadRecord: it isn't a truth value.
    """
    known = {"true": True, "1": True, "false": False, "0": False}
    if (label := known.get(str(value).strip().lower())) is None:
        raise BadRecord(f"field 'label' must be true or false, not {value!r}")
    return label


def _good_completion(row: Row) -> Row:
    if not read_label(row["label"]):
        raise LeftOut("labelled as bad answers")
    return _prompt_completion(row)


def _labelled(row: Row) -> Row:
    """Not yet a preference: `vcjax.data.pairing` pairs it with another answer."""
    answer = _completion(row)
    if len(answer) != 1:
        raise BadRecord("field 'completion' must be one assistant turn")
    text = _answer(answer, "completion")
    return {"messages": _prompt(row), "answer": text, "label": read_label(row["label"])}


def _answer(value: Any, field: str) -> Any:
    """The text of an answer given as text, a message, a ShareGPT turn or a list ending in one."""
    if isinstance(value, list) and value:
        value = value[-1]
    if isinstance(value, dict):
        message = turn(value, field)
        if message.get("role") != "assistant" or "calls" in message:
            raise BadRecord(f"field {field!r} must be an assistant turn")
        return message.get("content")
    return value


def _pair(row: Row, messages: Any) -> Row:
    """The answers to `messages`, unless they come as whole conversations, prompt included."""
    if any(isinstance(row[name], list) and len(row[name]) > 1 for name in ("chosen", "rejected")):
        return _transcripts(row)
    return {"messages": messages} | {n: _answer(row[n], n) for n in ("chosen", "rejected")}


def _safe_pair(row: Row) -> Row:
    safer = row["safer_response_id"]
    if safer not in (0, 1, "0", "1"):
        raise BadRecord(f"field 'safer_response_id' must be 0 or 1, not {safer!r}")
    chosen, rejected = row["response_0"], row["response_1"]
    if int(safer):
        chosen, rejected = rejected, chosen
    return {"messages": [_user(row["prompt"])], "chosen": chosen, "rejected": rejected}


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
        return [*turns(before, field), _assistant(_answer(last, field))]
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


_KTO = "KTO: prompt, completion, label"

LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "documents": (Layout("text", ("text",), _column("text", "text")),),
    "conversations": (
        Layout(
            "messages (role, content)",
            ("messages",),
            lambda row: {"messages": turns(row["messages"], "messages")},
        ),
        Layout("ShareGPT: conversations (from, value)", ("conversations",), _sharegpt),
        Layout(
            "alpaca: instruction, input, output",
            ("instruction", "output"),
            _instruction("output", "input"),
            ("input", "history"),
        ),
        Layout(
            "Dolly: instruction, context, response",
            ("instruction", "response"),
            _instruction("response", "context"),
            ("context", "history"),
        ),
        Layout(_KTO, ("prompt", "completion", "label"), _good_completion),
        Layout("TRL: prompt, completion", ("prompt", "completion"), _prompt_completion),
        Layout("question, answer", ("question", "answer"), _question, ("context", "history")),
    ),
    "preferences": (
        Layout(
            "messages, chosen, rejected",
            ("messages", "chosen", "rejected"),
            lambda row: _pair(row, turns(row["messages"], "messages")),
        ),
        Layout(
            "DPO: conversations (from, value), chosen, rejected",
            ("conversations", "chosen", "rejected"),
            lambda row: _pair(row, _sharegpt(row)["messages"]),
        ),
        Layout(
            "prompt, chosen, rejected",
            ("prompt", "chosen", "rejected"),
            lambda row: _pair(row, _prompt(row)),
        ),
        Layout(
            "question, chosen, rejected",
            ("question", "chosen", "rejected"),
            lambda row: _pair(row, _asked(row, "question", "context")),
            ("context", "history"),
        ),
        Layout(
            "alpaca: instruction, chosen, rejected",
            ("instruction", "chosen", "rejected"),
            lambda row: _pair(row, _asked(row, "instruction", "input")),
            ("input", "history"),
        ),
        Layout(
            "PKU-SafeRLHF: prompt, response_0, response_1, safer_response_id",
            ("prompt", "response_0", "response_1", "safer_response_id"),
            _safe_pair,
        ),
        Layout(_KTO, ("prompt", "completion", "label"), _labelled),
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

    A `system` column goes before the messages of any layout. Columns that nothing is made of are
    left out, as public sets carry all sorts (`unread` names them), but one that is nearly a field
    of ours is passed on, so that the schema can name the misspelling instead of losing the value.
    """
    names = KINDS[kind].field_names()
    missing = [column for column in layout.columns if column not in row]
    if missing:
        raise BadRecord(f"field {missing[0]!r} is missing")
    fields = {"source": file_stem} if "source" in names else {}
    fields |= {name: row[name] for name in names if name in row and row[name] is not None}
    for column in row:
        near = _misspelt(layout, kind, column)
        if near is not None and near not in row:
            fields[column] = row[column]
    fields |= layout.convert(row)
    if "messages" in fields:
        system = next((row[name] for name in SYSTEM_COLUMNS if row.get(name)), None)
        fields["messages"] = with_system(fields["messages"], system)
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


def unread(layout: Layout, row: Row, kind: str) -> Iterator[str]:
    """The columns of a row, and the fields of its turns, that hold something that isn't read."""
    for column in _unread(layout, kind, tuple(row)):
        if row[column] not in (None, "", [], {}):
            yield column
    for column in _TURN_COLUMNS:
        if column in row:
            yield from (f"{column}[].{name}" for name in unread_fields(row[column]))


@lru_cache  # rows have the same columns, mostly
def _unread(layout: Layout, kind: str, columns: tuple[str, ...]) -> tuple[str, ...]:
    names = KINDS[kind].field_names()
    taken = {*names, *layout.columns, *layout.optional}
    groups = [("id", *ID_COLUMNS)]
    groups += [("domain", *DOMAIN_COLUMNS)] if "domain" in names else []
    groups += [SYSTEM_COLUMNS, (TOOLS,)] if "messages" in names else []
    for group in groups:  # the first of each is read
        taken.update([name for name in group if name in columns][:1])
    return tuple(column for column in columns if column not in taken)


@lru_cache  # and a look-up takes longer than the rest of a row
def _misspelt(layout: Layout, kind: str, column: str) -> str | None:
    """The field that a column's name nearly is; None where the column means something else."""
    names = KINDS[kind].field_names()
    if column in names or column in layout.columns or column in layout.optional:
        return None
    return next(iter(get_close_matches(column, names, n=1, cutoff=0.81)), None)


def parse_columns(text: str) -> dict[str, str]:
    """`question:prompt,answer:response` -> our name of each column, and the file's.

    Raises:
      UserError: it isn't of this form, or a name of ours that no layout has.
    """
    mapping = {}
    for pair in (part.strip() for part in text.split(",")):
        if not pair:
            continue
        ours, colon, theirs = (part.strip() for part in pair.partition(":"))
        if not (ours and colon and theirs):
            raise UserError(f"columns: {pair!r} must be OURS:THEIRS, as in question:prompt")
        if ours not in known_columns():
            swapped = theirs in known_columns()
            hint = suggest(ours, known_columns())
            mend = f"; did you mean '{theirs}:{ours}'?" if swapped else hint
            raise UserError(f"columns: {ours!r} is no column of a known layout{mend}")
        if ours in mapping:
            raise UserError(f"columns: {ours!r} is given twice")
        mapping[ours] = theirs
    return mapping


def check_columns(text: str) -> None:
    """Raises the UserError of `parse_columns` under the name of the field in a config."""
    try:
        parse_columns(text)
    except UserError as error:
        raise UserError(f"config.{error}") from None


def renamed(row: Row, columns: Mapping[str, str]) -> Row:
    """A row by our names, as far as it has theirs."""
    found = {ours: theirs for ours, theirs in columns.items() if theirs in row}
    if not found:
        return row
    rest = {name: value for name, value in row.items() if name not in found.values()}
    return rest | {ours: row[theirs] for ours, theirs in found.items()}


@cache
def known_columns(kind: str | None = None) -> frozenset[str]:
    """The columns that the layouts of a kind read; None is of all kinds."""
    known: set[str] = set()
    for each in LAYOUTS if kind is None else (kind,):
        names = KINDS[each].field_names()
        known |= {*names, *((*SYSTEM_COLUMNS, TOOLS) if "messages" in names else ())}
        for layout in LAYOUTS[each]:
            known |= {*layout.columns, *layout.optional}
    return frozenset(known)
