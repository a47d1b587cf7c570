"""The messages of a chat and the tools that its answer may call, as OpenAI's API has them."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from vcjax.core.errors import UserError

MAX_TOOLS = 128
"""As in OpenAI's API."""
MAX_CALLS = 128
_NAME = r"^[a-zA-Z0-9_-]{1,64}$"


class Body(BaseModel):
    """A part of a request. Unknown fields are errors. A null field is absent: clients write all
    that they have."""

    # Strict: pydantic would otherwise take true for 1 and "5" for 5. Every list below fails fast,
    # as an error for each of a million elements would be made with the interpreter's lock held.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = {key: value for key, value in data.items() if value is not None}
        names = _names(cls)
        # One of the unknown ones is enough for an error, as of the elements of a list.
        unknown = next((key for key in given if key not in names), None)
        return {key: given[key] for key in given if key in names or key == unknown}


@lru_cache
def _names(body: type[BaseModel]) -> frozenset[str]:
    return frozenset(field.alias or name for name, field in body.model_fields.items())


class TextPart(Body):
    """A part of a message."""

    type: Literal["text"]
    text: str


def _parts(value: Any) -> Any:
    if isinstance(value, str):
        return [{"type": "text", "text": value}]
    if not isinstance(value, list):
        raise ValueError("must be a text or a list of text parts")
    return value


class CalledFunction(Body):
    """What a call asks for. Attributes: `arguments` are an object in JSON."""

    name: str
    arguments: str


class ToolCall(Body):
    """A call in an answer. `index` is of a stream, and clients send it back."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = None

    def plain(self) -> dict[str, Any]:
        """The call for the chat template, its arguments as an object."""
        try:
            arguments = json.loads(self.function.arguments)
            # JSON can spell half of a surrogate pair, which no text has.
            json.dumps(arguments, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            arguments = None
        if not isinstance(arguments, dict):
            raise UserError(f"messages: the arguments of the call {self.id!r} aren't a JSON object")
        function = {"name": self.function.name, "arguments": arguments}
        return {"id": self.id, "type": "function", "function": function}


class ChatMessage(Body):
    """One turn. `developer` is OpenAI's newer name for `system`; a `tool` has the result of a call.

    `name` is accepted and changes nothing: chat templates have no place for it.
    """

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[list[TextPart], Field(fail_fast=True), BeforeValidator(_parts)]
    name: str | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=MAX_CALLS, fail_fast=True)] = []
    tool_call_id: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _null_is_empty(cls, data: Any) -> Any:
        """An answer without a text has the content null, as servers write it."""
        if not isinstance(data, dict) or data.get("role") != "assistant":
            return data
        is_null = "content" in data and data["content"] is None
        is_absent = "content" not in data and bool(data.get("tool_calls"))
        return {**data, "content": ""} if is_null or is_absent else data

    @model_validator(mode="after")
    def _has_its_fields(self) -> "ChatMessage":
        if self.tool_calls and self.role != "assistant":
            raise ValueError("tool_calls are of the assistant alone")
        if (self.tool_call_id is not None) != (self.role == "tool"):
            raise ValueError("a tool_call_id comes with the role tool, and with no other")
        return self

    def plain(self) -> dict[str, Any]:
        """The message for the chat template.

        Raises:
          UserError: arguments of a call that aren't a JSON object.
        """
        role = "system" if self.role == "developer" else self.role
        message = {"role": role, "content": "".join(part.text for part in self.content)}
        if self.tool_call_id is not None:
            return {**message, "tool_call_id": self.tool_call_id}
        calls = [call.plain() for call in self.tool_calls]
        return {**message, "tool_calls": calls} if calls else message


class FunctionDefinition(Body):
    """A tool: `parameters` is the JSON schema of its arguments; absent, it has none.

    `strict` changes nothing: a call that is required is always held to the schema.
    """

    name: Annotated[str, Field(pattern=_NAME)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Body):
    """A tool that an answer may call."""

    type: Literal["function"]
    function: FunctionDefinition

    @property
    def schema_of_arguments(self) -> dict[str, Any]:
        """The JSON schema of the arguments."""
        none: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
        return none if self.function.parameters is None else self.function.parameters

    def plain(self) -> dict[str, Any]:
        """The tool for the chat template."""
        function = self.function.model_dump(include={"name", "description", "parameters"})
        given = {name: value for name, value in function.items() if value is not None}
        return {"type": "function", "function": given}


class ChosenFunction(Body):
    """The name of a tool."""

    name: str


class ChosenTool(Body):
    """A tool that must be called."""

    type: Literal["function"]
    function: ChosenFunction


ToolChoice = Literal["none", "auto", "required"] | ChosenTool


def check_tools(tools: Sequence[Tool], choice: ToolChoice | None) -> None:
    """Raises a UserError for tools of one name, or a choice that isn't among them."""
    names = [tool.function.name for tool in tools]
    if len(set(names)) < len(names):
        raise UserError("tools: two have the same name")
    if choice not in (None, "none") and not tools:
        raise UserError("tool_choice comes with tools alone")
    if isinstance(choice, ChosenTool) and choice.function.name not in names:
        raise UserError(f"tool_choice: {choice.function.name!r} isn't one of the tools")
