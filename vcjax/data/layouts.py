"""The common public layouts of each kind of record: the columns of a row to fields of our schema.

The row of a layout is recognised by its columns. What any layout may have beside them (a system
message, an id, a domain) is read by `vcjax.data.columns`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vcjax.data.messages import turn, turns
from vcjax.data.records import BadRecord

Row = dict[str, Any]

# Columns of public data sets that have a question, the most specific first.
QUESTION_COLUMNS = ("question", "prompt", "问题", "text")


class LeftOut(Exception):
    """A valid row from which no record of the kind is made; the reason is counted."""


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
    """Half of a preference; `vcjax.data.digests.LabelledAnswers` has the other half."""
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
    # Sets such as UltraFeedback have the prompt in its own column and again before both answers.
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

# The first layout that fits a row is taken, so one whose columns contain those of another comes
# before it.
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
