"""How a template writes calls, and how answers are read that have some."""

import json

import pytest

from vcjax.core.errors import UserError
from vcjax.text.rendering import render_tool_prompt
from vcjax.text.tool_calls import Call, CallParser, ToolSyntax, tool_syntax

_ROLES = "{{- '<|im_start|>' + m.role + '\\n' + m.content -}}"
TOOLS = "{%- for t in tools or [] -%}{{- t | tojson + '\\n' -}}{%- endfor -%}"


def template(calls: str, head: str = TOOLS) -> str:
    """A template with a form of calls."""
    turns = f"{{%- for m in messages -%}}{_ROLES}{calls}{{{{- '<|im_end|>\\n' -}}}}{{%- endfor -%}}"
    return head + turns + "{%- if add_generation_prompt -%}<|im_start|>assistant\n{%- endif -%}"


TAGGED = template(
    "{%- for c in m.tool_calls or [] -%}"
    "{{- '<tool_call>\\n' + c.function | tojson + '\\n</tool_call>' -}}{%- endfor -%}"
)
ALONE = template(
    "{%- for c in m.tool_calls or [] -%}"
    '{{- \'{"name": "\' + c.function.name + \'", "parameters": \' -}}'
    "{{- c.function.arguments | tojson + '}' -}}{%- endfor -%}"
)
LISTED = template(
    "{%- if m.tool_calls -%}[TOOL_CALLS][{%- for c in m.tool_calls -%}"
    "{{- (c.function | tojson)[:-1] + ', \"id\": \"' + c.id + '\"}' -}}"
    "{{- ', ' if not loop.last else '' -}}{%- endfor -%}]{%- endif -%}"
)
PYTHONIC = template(
    "{%- for c in m.tool_calls or [] -%}{{- c.function.name + '()' -}}{%- endfor -%}"
)
TAGS = ToolSyntax("<tool_call>", "\n", after="\n", closing="</tool_call>")
SYNTAXES = {
    "tags": (TAGGED, TAGS),
    "alone": (ALONE, ToolSyntax(key="parameters")),
    "list": (LISTED, ToolSyntax("[TOOL_CALLS]", is_list=True)),
}
WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {}}}


@pytest.fixture(scope="module")
def tokenizer(tiny):
    return tiny.tokenizer


@pytest.mark.parametrize("name", SYNTAXES)
def test_the_way_of_writing_calls_is_learnt_from_the_template(tokenizer, name):
    source, syntax = SYNTAXES[name]
    assert tool_syntax(tokenizer.with_template(source)) == syntax


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "tools: the model's chat template has no place for them"),
        (PYTHONIC, "tools: the model's chat template writes calls in a way that isn't supported"),
        ("{{ raise_exception('no') }}", "tools: chat template: it fails on (user): no"),
    ],
)
def test_a_template_without_a_known_way_is_refused(tokenizer, source, message):
    with pytest.raises(UserError) as refused:
        tool_syntax(tokenizer if source is None else tokenizer.with_template(source))
    assert str(refused.value) == message


def test_special_tokens_come_from_the_template_alone_in_tools_and_calls_too(tokenizer):
    # As a value, the name of a field, and an argument.
    string = "<|im_end|>"
    tool = {"type": "function", "function": WEATHER | {"description": string, string: string}}
    call = {"name": "weather", "arguments": {string: [string]}}
    said = [
        {"role": "user", "content": "?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "1", "type": "function", "function": call}],
        },
        {"role": "tool", "content": string, "tool_call_id": "1"},
    ]
    ids = render_tool_prompt(tokenizer.with_template(TAGGED), said, [tool])
    assert ids.count(tokenizer.special_tokens[string]) == len(said)
    text = tokenizer.decode(ids, skip_special=False)
    assert text.count(string) == len(said) + 6
    assert f'{{"{string}": ["{string}"]}}' in text


def read(syntax: ToolSyntax, text: str, size: int, most: int | None = None) -> list:
    """What is in an answer that comes in pieces, adjacent texts joined."""
    parser = CallParser(syntax, {"weather", "time"}, most=most)
    found: list = []
    for start in range(0, len(text), size):
        found += parser.feed(text[start : start + size])
    joined: list = []
    for each in [*found, *parser.finish()]:
        if isinstance(each, str) and joined and isinstance(joined[-1], str):
            joined[-1] += each
        else:
            joined.append(each)
    return joined


ULM, NOW = Call("weather", '{"city": "Ulm </tool_call>"}'), Call("time", "{}")


def body(call: Call, key: str = "arguments") -> str:
    return json.dumps({"name": call.name, key: json.loads(call.arguments)})


def tagged(call: Call) -> str:
    return f"<tool_call>\n{body(call)}\n</tool_call>"


CASES = [
    (TAGS, "No tools. 不用 <tool", ["No tools. 不用 <tool"]),
    (TAGS, f"I look.\n{tagged(ULM)}\n{tagged(NOW)}\n", ["I look.", ULM, NOW]),
    (TAGS, f"{tagged(NOW)} and {tagged(ULM)}", [NOW, " and", ULM]),
    (TAGS, f"<tool_call>{body(NOW)}", [NOW]),  # the end of the turn came for the tag
    (
        TAGS,
        r'<tool_call>{"name": "time", "arguments": {"x": "\ud800"}}',
        [Call("time", r'{"x": "\ud800"}')],
    ),
    (TAGS, '<tool_call>{"name": "tim', ['<tool_call>{"name": "tim']),
    (TAGS, tagged(Call("else", "{}")), [tagged(Call("else", "{}"))]),
    (TAGS, "<tool_call>[]</tool_call>", ["<tool_call>[]</tool_call>"]),
    (TAGS, '<tool_call>{"name": "time", "arguments": NaN}', None),
    (TAGS, '<tool_call>{"name": "time", "arguments": {"x": NaN}}', None),
    (TAGS, "<tool_call>" + '{"name": ' * 2000, None),
    (TAGS, "  ", ["  "]),
    (ToolSyntax(key="parameters"), f" {body(ULM, 'parameters')}\n", [ULM]),
    (ToolSyntax(key="parameters"), '{"answer": 4}', ['{"answer": 4}']),
    (ToolSyntax(key="parameters"), f"So: {body(ULM, 'parameters')}", None),
    (
        ToolSyntax("[TOOL_CALLS]", is_list=True),
        f"[TOOL_CALLS][{body(ULM)}, {body(NOW)}]",
        [ULM, NOW],
    ),
    (ToolSyntax("[TOOL_CALLS]", is_list=True), f"Well [TOOL_CALLS] [{body(NOW)}", None),
    (ToolSyntax("[TOOL_CALLS]", is_list=True), f"[TOOL_CALLS]Well. [{body(NOW)}]", ["Well.", NOW]),
]


@pytest.mark.parametrize("size", [1, 7, 10**6])
@pytest.mark.parametrize(("syntax", "text", "expected"), CASES, ids=lambda value: str(value)[:30])
def test_an_answer_is_read_alike_however_it_comes(syntax, text, expected, size):
    found = read(syntax, text, size)
    assert found == ([text] if expected is None else expected)


def test_calls_beyond_the_most_are_left_out():
    assert read(TAGS, tagged(ULM) + tagged(NOW), 5, most=1) == [ULM]
