"""The calls of tools in the answers of a chat, whole and in a stream."""

import secrets
import string
from collections.abc import Iterable, Sequence
from typing import Any

from vcjax.generate.requests import Event
from vcjax.text.tokenizer import Tokenizer
from vcjax.text.tool_calls import Call, CallParser, ToolSyntax

_ID_CHARACTERS = string.ascii_letters + string.digits


class CallReader:
    """Reads the calls of one answer, as the fields of its message or of a stream's deltas."""

    def __init__(self, parser: CallParser, token: int | None, syntax: ToolSyntax) -> None:
        self._parser, self._token, self._syntax = parser, token, syntax
        self._calls = 0

    def feed(self, text: str, events: Iterable[Event]) -> dict[str, Any]:
        """`content` and `tool_calls` with the next tokens."""
        if self._token is not None and any(event.token == self._token for event in events):
            text = self._syntax.opening + text
        return self._fields(self._parser.feed(text))

    def finish(self) -> dict[str, Any]:
        """`content` and `tool_calls` that the end of the answer makes final."""
        return self._fields(self._parser.finish())

    def reason(self, finish_reason: str | None) -> str | None:
        """Why the answer ended, once it is read whole."""
        has_ended = finish_reason == "stop" and self._calls > 0
        return "tool_calls" if has_ended else finish_reason

    def _fields(self, found: Sequence[str | Call]) -> dict[str, Any]:
        text = "".join(each for each in found if isinstance(each, str))
        calls = []
        for each in found:
            if isinstance(each, Call):
                # Of nine characters, as Mistral's templates take no others.
                identity = "".join(secrets.choice(_ID_CHARACTERS) for _ in range(9))
                function = {"name": each.name, "arguments": each.arguments}
                call = {"index": self._calls, "id": identity, "type": "function"}
                calls.append({**call, "function": function})
                self._calls += 1
        return ({"content": text} if text else {}) | ({"tool_calls": calls} if calls else {})


class Calling:
    """How the answers to one request are read that may call tools."""

    def __init__(
        self, syntax: ToolSyntax, tokenizer: Tokenizer, names: frozenset[str], *, several: bool
    ) -> None:
        """Args:
        names: of the tools.
        several: whether an answer may have more than one call.
        """
        self._syntax, self._names, self._most = syntax, names, None if several else 1
        # A token that isn't in the text where the tokenizer declares it special.
        self._token = tokenizer.special_tokens.get(syntax.opening)

    def reader(self) -> CallReader:
        """A reader of one answer."""
        return CallReader(
            CallParser(self._syntax, self._names, most=self._most), self._token, self._syntax
        )
