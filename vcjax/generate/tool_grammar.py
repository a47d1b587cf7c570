"""What an answer must be that calls tools: a grammar of `llguidance`, in its form of Lark."""

import json
from collections.abc import Mapping
from typing import Any

from vcjax.core.errors import UserError
from vcjax.text.tokenizer import Tokenizer
from vcjax.text.tool_calls import ToolSyntax

# Laid out as chat templates lay calls out, which is what a model has learnt.
_LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def tool_grammar(
    tokenizer: Tokenizer,
    syntax: ToolSyntax,
    schemas: Mapping[str, Mapping[str, Any]],
    *,
    several: bool,
) -> str:
    """The grammar of an answer that is one call, or `several`, of the tools.

    Args:
      schemas: of the arguments of each tool, by its name.

    Raises:
      UserError: arguments that aren't an object.
    """
    rules = []
    for number, (name, schema) in enumerate(schemas.items()):
        if schema.get("type", "object") != "object":
            raise UserError(f"tools: the parameters of {name!r} must be of type object")
        head = json.dumps(f'{{"name": {json.dumps(name)}, "{syntax.key}": ')
        # A document of its own each, so that its references are from its root.
        document = {**schema, "type": "object", "x-guidance": _LAYOUT}
        rules += [f'tool_{number}: {head} args_{number} "}}"']
        rules += [f"args_{number}: %json {json.dumps(document)}"]
    tool = "tool: " + " | ".join(f"tool_{number}" for number in range(len(schemas)))
    opening, closing = _tag(tokenizer, syntax.opening), _tag(tokenizer, syntax.closing)
    before, after = _text(syntax.before), _text(syntax.after)
    if syntax.is_list:
        more = '(", " tool)*' if several else ""
        start = f'start: {opening} {before} "[" tool {more} "]"'
        return "\n".join([start, tool, *rules])
    call = f"call: {opening} {before} tool {after} {closing}"
    # A model that writes no tags writes one call.
    more = '("\\n" call)*' if several and syntax.closing else ""
    return "\n".join([f"start: call {more}", call, tool, *rules])


def _tag(tokenizer: Tokenizer, tag: str) -> str:
    """A tag as its token, where it is one: pieces of it aren't what a model has learnt."""
    ids = tokenizer.encode(tag, special=True) if tag else []
    return f"<[{ids[0]}]>" if len(ids) == 1 else _text(tag)


def _text(text: str) -> str:
    return json.dumps(text) if text else ""
