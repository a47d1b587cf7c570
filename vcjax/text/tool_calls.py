"""Calls of tools in an answer: how a model writes them, and how they are read as they come.

How a model writes a call is learnt from its chat template, which is given one to render. Three ways
are known:

    <tool_call>{"name": ..., "arguments": {...}}</tool_call>    Hermes, Qwen2.5, Qwen3; several
    {"name": ..., "parameters": {...}}                          Llama 3.1 to 3.3; one, nothing else
    [TOOL_CALLS][{"name": ..., "arguments": {...}}, ...]        Mistral; at the end of an answer
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from vcjax.core.errors import UserError
from vcjax.text.chat_text import prompt_text
from vcjax.text.templates import Message
from vcjax.text.tokenizer import Tokenizer

_LISTED, _CALLED, _ID = "vcjax_listed", "vcjax_called", "vcjaxcall"
_QUESTION = {"role": "user", "content": "?"}
_TOOL = {
    "type": "function",
    "function": {
        "name": _LISTED,
        "description": "?",
        "parameters": {"type": "object", "properties": {}},
    },
}
_FUNCTION = {"name": _CALLED, "arguments": {"x": 1}}
_ANSWER = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": _ID, "type": "function", "function": _FUNCTION}],
}
_CALL = f'{{"name": "{_CALLED}", "%s": {{"x": 1}}'
_TAGS = re.compile(rf"<tool_call>(\s*){re.escape(_CALL % 'arguments')}\}}(\s*)</tool_call>")
_LIST = re.compile(rf"\[TOOL_CALLS\](\s*)\[{re.escape(_CALL % 'arguments')}")
_ALONE = _CALL % "parameters" + "}"


@dataclass(frozen=True)
class ToolSyntax:
    """How a model writes calls.

    Attributes:
      opening, closing: around each call, or before the list of all; empty are none.
      before, after: white space within them.
      key: of a call's arguments.
      is_list: whether the calls of an answer are one JSON list.
    """

    opening: str = ""
    before: str = ""
    key: str = "arguments"
    after: str = ""
    closing: str = ""
    is_list: bool = False


@dataclass(frozen=True)
class Call:
    """A call: the name of the tool, and the arguments as JSON."""

    name: str
    arguments: str


def tool_syntax(tokenizer: Tokenizer) -> ToolSyntax:
    """How the model of a tokenizer writes calls.

    Raises:
      UserError: its chat template has no place for tools, or writes calls in none of the known
        ways.
    """
    if _LISTED not in _rendered(tokenizer, [_QUESTION]):
        raise UserError("tools: the model's chat template has no place for them")
    text = _rendered(tokenizer, [_QUESTION, _ANSWER])
    if (tags := _TAGS.search(text)) is not None:
        return ToolSyntax("<tool_call>", tags[1], after=tags[2], closing="</tool_call>")
    if (found := _LIST.search(text)) is not None:
        return ToolSyntax("[TOOL_CALLS]", found[1], is_list=True)
    if _ALONE in text:
        return ToolSyntax(key="parameters")
    raise UserError("tools: the model's chat template writes calls in a way that isn't supported")


def _rendered(tokenizer: Tokenizer, messages: Sequence[Message]) -> str:
    try:
        return prompt_text(tokenizer, messages, [_TOOL]).text
    except UserError as error:
        raise UserError(f"tools: {error}") from None


class CallParser:
    """Reads an answer in pieces, and separates its text from its calls.

    What may still become a call is withheld. What turns out to be none, such as JSON of another
    form or the name of a tool that there isn't, is text.
    """

    def __init__(self, syntax: ToolSyntax, names: Collection[str], *, most: int | None = None):
        """Args:
        names: of the tools.
        most: calls after so many are left out.
        """
        self._syntax, self._names, self._most = syntax, names, most
        self._buffer, self._begun, self._called = "", False, False
        self._space = ""  # white space before a call, which is none of the text's
        self._searched = 0  # characters of a call in which its end was looked for
        self.count = 0

    def feed(self, text: str) -> list[str | Call]:
        """Texts and calls, in order, that are final with the next piece of the answer."""
        self._buffer += text
        if self._syntax.opening:
            return [*self._counted(self._tagged())]
        if not self._begun and (start := self._buffer.lstrip()):
            self._begun, self._called = True, start[0] == "{"
        return [] if self._called or not self._begun else self._taken()

    def finish(self) -> list[str | Call]:
        """The rest, once the answer has ended."""
        syntax, rest = self._syntax, self._buffer
        self._buffer = ""
        if not self._called:
            return [rest] if rest.strip() or (rest and not self.count) else []
        found = self._read(rest)
        if found is None:  # cut off, or no call
            found = [self._space + syntax.opening + rest]
        return [*self._counted(iter(found))]

    def _taken(self) -> list[str | Call]:
        text, self._buffer = self._buffer, ""
        return [text] if text else []

    def _tagged(self) -> Iterator[str | Call]:
        opening, closing = self._syntax.opening, self._syntax.closing
        while True:
            if not self._called:
                before, tag, after = self._buffer.partition(opening)
                if not tag:
                    kept = _withheld(before, opening)
                    self._buffer = before[len(before) - kept :]
                    if text := before[: len(before) - kept]:
                        yield text
                    return
                text = before.rstrip()
                self._space = before[len(text) :]
                if text:
                    yield text
                self._buffer, self._called, self._searched = after, True, 0
            if not closing:  # all that follows belongs to the list
                return
            end = self._buffer.find(closing, self._searched)
            if end < 0:
                self._searched = max(0, len(self._buffer) - len(closing) + 1)
                return
            found = self._read(self._buffer[:end])
            if found is None:  # an end within a text of the arguments, perhaps
                self._searched = end + 1
                continue
            self._buffer, self._called = self._buffer[end + len(closing) :], False
            yield from found

    def _read(self, text: str) -> list[str | Call] | None:
        """The calls in a text; None where it isn't what a call must be."""
        before, start = "", text
        if self._syntax.is_list:
            head, bracket, rest = text.partition("[")
            before, start = head.strip(), bracket + rest
        try:
            value = json.loads(start, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return None
        values = value if self._syntax.is_list else [value]
        calls = [self._call(each) for each in values] if isinstance(values, list) else []
        found = [call for call in calls if call is not None]
        if not found or len(found) < len(calls):
            return None
        return [before, *found] if before else [*found]

    def _call(self, value: Any) -> Call | None:
        if not isinstance(value, Mapping):
            return None
        name, arguments = value.get("name"), value.get(self._syntax.key)
        if not isinstance(name, str) or name not in self._names or not isinstance(arguments, dict):
            return None
        spelt = json.dumps(arguments, ensure_ascii=False)
        try:
            spelt.encode()
        except (
            UnicodeEncodeError
        ):  # half of a surrogate pair, which JSON can spell, and no text has
            spelt = json.dumps(arguments)
        return Call(name, spelt)

    def _counted(self, found: Iterator[str | Call]) -> Iterator[str | Call]:
        for each in found:
            if isinstance(each, Call):
                if self._most is not None and self.count >= self._most:
                    continue
                self.count += 1
            yield each


def _withheld(text: str, tag: str) -> int:
    """Length of the end of a text that may begin a tag, white space before it included."""
    part = next(
        (n for n in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:n])), 0
    )
    before = text[: len(text) - part]
    return part + len(before) - len(before.rstrip())


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} isn't JSON")
