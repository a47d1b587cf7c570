"""Turns of conversations as the world writes them -> our messages: roles, parts, tools."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from vcjax.data.records import BadRecord

Message = dict[str, Any]

# Speakers of OpenAI's messages, of ShareGPT's turns and of its descendants.
SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "system": "system",
    "developer": "system",  # OpenAI's name for it since the o1 models
    "function_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "ipython": "tool",
}
CALLS = ("tool_calls", "function_call")
TOOL_TURNS = ("leave_out", "train")
"""What is done with calls of tools and their results; see `settle_tools`."""

_TURN_FIELDS = ("role", "content", "from", "value", *CALLS, "tool_call_id")


def turns(value: Any, field: str) -> Any:
    """A list of turns as messages `{role, content}`; a call is in `calls`, a result's role is
    `tool`. What isn't a list of objects is returned as it is: the schema names its error.

    Raises:
      BadRecord: a turn that isn't of a known form.
    """
    if isinstance(value, dict) and value and all(isinstance(v, list) for v in value.values()):
        # `datasets` stores a sequence of objects as an object of sequences.
        # (CPython 3.12.1 takes `turn` here for the one below: comprehensions share a scope there.)
        value = [dict(zip(value, each, strict=True)) for each in zip(*value.values(), strict=True)]
    if not isinstance(value, list | tuple):
        return value
    return [turn(each, f"{field}[{n}]") for n, each in enumerate(value)]


def turn(value: Any, path: str) -> Any:
    """One turn; see `turns`."""
    if not isinstance(value, dict):
        return value
    if "from" in value or "value" in value:
        if not {"from", "value"} <= value.keys():
            raise BadRecord(f"{path} must have 'from' and 'value'")
        if value["from"] not in SPEAKERS:
            known = ", ".join(SPEAKERS)
            raise BadRecord(f"unknown speaker {value['from']!r} in {path} (known: {known})")
        role, content = SPEAKERS[value["from"]], value["value"]
        if value["from"] == "function_call":
            return {"role": role, "content": "", "calls": [_parsed(content)]}
        return {"role": role, "content": _text(content, f"{path}.value")}
    message = {name: each for name, each in value.items() if name in ("role", "content")}
    if isinstance(role := message.get("role"), str):
        message["role"] = SPEAKERS.get(role, role)
    calls = [call for name in CALLS for call in _listed(value.get(name))]
    if calls:
        message["calls"] = [_call(call) for call in calls]
        message["content"] = message.get("content") or ""
    if "content" in message:
        message["content"] = _text(message["content"], f"{path}.content")
    return message


def unread_fields(value: Any) -> Iterator[str]:
    """Fields of turns that nothing is made of, and that aren't null."""
    if isinstance(value, list | tuple):
        for each in value:
            if isinstance(each, dict):
                yield from (k for k, v in each.items() if v is not None and k not in _TURN_FIELDS)


def with_system(messages: Any, system: Any) -> Any:
    """Puts the text of a row's own column before its messages.

    Raises:
      BadRecord: the messages begin with another system message.
    """
    if not isinstance(messages, list) or system is None or system == "":
        return messages
    first = messages[0] if messages and isinstance(messages[0], dict) else {}
    if first.get("role") != "system":
        return [{"role": "system", "content": system}, *messages]
    if first.get("content") != system:
        raise BadRecord("field 'system' and the first message are two different system messages")
    return messages


def settle_tools(
    messages: list[Message], tools: Any, how: str
) -> tuple[list[Message], dict[str, int]]:
    """Messages of the roles system, user and assistant alone; and the tool turns `trained` on or
    `left_out` (calls and results, one each).

    `leave_out` ends the conversation before the first question that is answered with a tool: an
    answer without the result that it rests on would teach to make results up. `train` writes a
    call as text of the assistant, which is predicted, and a result as text of the user, in the
    form that the templates of Qwen2.5 and Qwen3 have (that of the Hermes function-calling data):
    `<tool_call>` and `<tool_response>` around JSON, whatever the model's own form is.

    Args:
      tools: the row's column of that name: a list of schemas, or JSON of one.
      how: one of TOOL_TURNS.
    """
    count = sum(map(_is_tool_turn, messages))
    if how == "train":
        if tools:
            messages = with_tools(messages, tools)
        return [_written(message) for message in messages], {"trained": count}
    if not count:
        return messages, {}
    asked = next(n for n, message in enumerate(messages) if _is_tool_turn(message))
    # Back to the question that led to the call: it has no answer of its own that could be kept.
    while asked and messages[asked].get("role") != "user":
        asked -= 1
    return messages[:asked], {"left_out": count}


def with_tools(messages: list[Message], tools: Any) -> list[Message]:
    """Names the tools in the system message."""
    listed = tools if isinstance(tools, str) else json.dumps(tools, ensure_ascii=False)
    about = (
        f"Tools that you may call:\n<tools>\n{listed}\n</tools>\nCall one with\n<tool_call>\n"
        '{"name": its name, "arguments": an object}\n</tool_call>'
    )
    first = messages[0] if messages and isinstance(messages[0], dict) else {}
    if first.get("role") != "system":
        return [{"role": "system", "content": about}, *messages]
    return [{"role": "system", "content": f"{first['content']}\n\n{about}"}, *messages[1:]]


def _is_tool_turn(message: Any) -> bool:
    return isinstance(message, dict) and ("calls" in message or message.get("role") == "tool")


def _written(message: Any) -> Any:
    if not _is_tool_turn(message):
        return message
    if message["role"] == "tool":
        result = f"<tool_response>\n{message['content']}\n</tool_response>"
        return {"role": "user", "content": result}
    calls = [
        f"<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>"
        for call in message["calls"]
    ]
    texts = [message["content"], *calls] if message["content"] else calls
    return {"role": message["role"], "content": "\n".join(texts)}


def _listed(calls: Any) -> list[Any]:
    return calls if isinstance(calls, list) else [calls] if calls else []


def _call(call: Any) -> Mapping[str, Any]:
    """`{name, arguments}` of one of OpenAI's calls, whose arguments are JSON in a string."""
    call = _parsed(call)
    inner = call.get("function") or call
    if not isinstance(inner, dict) or "name" not in inner:
        raise BadRecord("a tool call must have a 'name' and 'arguments'")
    arguments = inner.get("arguments", inner.get("parameters", {}))
    return {"name": inner["name"], "arguments": _parsed(arguments)}


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        raise BadRecord(f"a tool call must be JSON, not {value[:40]!r}") from None


def _text(content: Any, path: str) -> Any:
    """The text of a content that is given in parts, as OpenAI's and others' messages may be."""
    if not isinstance(content, list):
        return content
    texts = []
    for n, part in enumerate(content):
        if isinstance(part, str):
            texts.append(part)
            continue
        kind = part.get("type", "text") if isinstance(part, dict) else type(part).__name__
        if kind not in ("text", "input_text", "output_text") or not isinstance(
            part.get("text"), str
        ):
            raise BadRecord(f"{path}[{n}] is {kind!r}: only text can be trained on")
        texts.append(part["text"])
    return "".join(texts)
