"""Tools through OpenAI's own client, on a tiny model whose template supports them."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx2
import openai
import pytest

from tests.text.test_tool_calls import ALONE, LISTED, TAGGED
from vcjax.generate.engine import Engine
from vcjax.generate.text import TextEngine
from vcjax.serve.config import ServeConfig
from vcjax.serve.endpoint import Gate
from vcjax.serve.models import Loaded, Models
from vcjax.serve.server import build_app

QUESTION = {"role": "user", "content": "What is the weather in Ulm?"}
PLACE = {"$ref": "#/$defs/place"}
ARGUMENTS = {
    "type": "object",
    "properties": {"place": PLACE, "days": {"enum": [1, 2, 3]}},
    "required": ["place", "days"],
    "additionalProperties": False,
    "$defs": {"place": {"enum": ["Ulm", "北京"]}},
}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "description": "The forecast.", "parameters": ARGUMENTS},
}
TIME: dict[str, Any] = {"type": "function", "function": {"name": "time"}}
TOOLS = [WEATHER, TIME]
FORMS = {"tags": TAGGED, "alone": ALONE, "list": LISTED}


class Site:
    """A server in this process, for one template after the other."""

    def __init__(self, tiny, folder) -> None:
        config = ServeConfig(models=(str(folder),), names=("tiny",))
        self._models, self._tiny = Models(config), tiny
        engine = Engine(tiny.config, tiny.params, slots=2)
        self.loaded = self._models.all[0].loaded = Loaded(TextEngine(tiny, engine), 6)
        self.loaded.service.wait_ready()
        self._app = build_app(config, self._models, Gate(8))

    def chat(self, template: str, **given: Any) -> Any:
        """An answer, or the chunks of one with `stream`."""
        self.loaded.text.tokenizer = self._tiny.tokenizer.with_template(template)

        async def ask() -> Any:
            transport = httpx2.ASGITransport(app=self._app)
            async with httpx2.AsyncClient(transport=transport) as http:
                client = openai.AsyncOpenAI(
                    base_url="http://tiny/v1", api_key="none", max_retries=0, http_client=http
                )
                body = {"model": "tiny", "messages": [QUESTION], "max_tokens": 200, "seed": 1}
                answer = await client.chat.completions.create(**body | given)
                return [chunk async for chunk in answer] if given.get("stream") else answer

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def site(tiny, tiny_folder) -> Iterator[Site]:
    site = Site(replace(tiny), tiny_folder)
    yield site
    site.loaded.service.close(drain=False)


@pytest.fixture(params=FORMS)
def chat(site, request) -> Callable[..., Any]:
    return lambda **given: site.chat(FORMS[request.param], **given)


def joined(chunks: list) -> dict[str, Any]:
    """What a client makes of a stream of one choice."""
    content, reason, calls = "", None, {}
    for chunk in chunks:
        (choice,) = chunk.choices
        content, reason = content + (choice.delta.content or ""), choice.finish_reason or reason
        for call in choice.delta.tool_calls or ():
            assert call.index not in calls
            calls[call.index] = (call.function.name, json.loads(call.function.arguments))
            assert call.id
    assert list(calls) == list(range(len(calls)))
    return {"content": content or None, "reason": reason, "calls": list(calls.values())}


def whole(answer) -> dict[str, Any]:
    (choice,) = answer.choices
    calls = choice.message.tool_calls or ()
    named = [(call.function.name, json.loads(call.function.arguments)) for call in calls]
    content = choice.message.content or None
    return {"content": content, "reason": choice.finish_reason, "calls": named}


def test_a_required_call_is_held_to_the_schema_whole_and_in_a_stream(chat):
    for seed in range(2):
        # Of several calls random weights may make one after the other without an end.
        given = {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False}
        given |= {"seed": seed}
        answer = whole(chat(**given))
        assert answer["reason"] == "tool_calls"
        assert answer["content"] is None
        assert len(answer["calls"]) == 1
        for name, arguments in answer["calls"]:
            if name == "time":
                assert arguments == {}
            else:
                assert name == "weather"
                assert arguments["place"] in ("Ulm", "北京")
                assert arguments["days"] in (1, 2, 3)
        assert joined(chat(**given, stream=True)) == answer


def test_one_named_tool_is_called_once(chat):
    chosen = {"type": "function", "function": {"name": "weather"}}
    given = {"tools": TOOLS, "tool_choice": chosen, "parallel_tool_calls": False}
    answer = whole(chat(**given, n=1))
    assert [name for name, _ in answer["calls"]] == ["weather"]
    assert answer["reason"] == "tool_calls"


# Random weights call no tool of their own accord.
CALLED = {
    "tags": r'Let me see\. <tool_call>\n\{"name": "time", "arguments": \{\}\}\n</tool_call>',
    "alone": r'\{"name": "time", "parameters": \{\}\}',
    "list": r'Let me see\. \[TOOL_CALLS\]\[\{"name": "time", "arguments": \{\}\}\]',
}


@pytest.mark.parametrize("form", FORMS)
def test_a_call_that_a_model_makes_itself_is_one(site, form):
    given = {"tools": TOOLS, "extra_body": {"regex": CALLED[form]}}
    answer = whole(site.chat(FORMS[form], **given))
    assert answer["calls"] == [("time", {})]
    assert answer["content"] == (None if form == "alone" else "Let me see.")
    assert answer["reason"] == "tool_calls"
    assert joined(site.chat(FORMS[form], **given, stream=True)) == answer
    # Without the tool it is a text.
    other = whole(site.chat(FORMS[form], **given | {"tools": [WEATHER]}))
    assert other["calls"] == []
    assert other["reason"] == "stop"
    assert '"name": "time"' in other["content"]


def test_a_text_beside_tools_is_that_text_in_a_stream_too(chat):
    given = {"tools": TOOLS, "extra_body": {"regex": r"It is \{ 3 < 4 \}, <tool and so on\."}}
    for answer in (whole(chat(**given)), joined(chat(**given, stream=True))):
        assert answer["content"] == "It is { 3 < 4 }, <tool and so on."
        assert answer["calls"] == []
        assert answer["reason"] == "stop"


def test_an_answer_that_is_cut_off_is_a_text_that_says_so(chat):
    given = {"tools": TOOLS, "tool_choice": "required", "max_tokens": 9}
    answer = whole(chat(**given))
    assert answer["reason"] == "length"
    assert answer["calls"] == []
    assert answer["content"]
    assert joined(chat(**given, stream=True)) == answer


def test_the_result_of_a_call_is_part_of_the_conversation(chat):
    first = chat(tools=TOOLS, tool_choice="required", parallel_tool_calls=False)
    said = first.choices[0].message
    (call,) = said.tool_calls
    messages = [QUESTION, said, {"role": "tool", "tool_call_id": call.id, "content": "rain 下雨"}]
    then = chat(messages=messages, tools=TOOLS, max_tokens=4)
    without = chat(messages=messages[:2], tools=TOOLS, max_tokens=4)
    assert then.usage.prompt_tokens > without.usage.prompt_tokens > first.usage.prompt_tokens
    assert whole(chat(messages=messages, max_tokens=4))["calls"] == []


def test_tools_and_their_results_need_a_template_that_has_a_place_for_them(client):
    results = [QUESTION, {"role": "tool", "tool_call_id": "1", "content": "rain"}]
    for given in ({"tools": TOOLS}, {"messages": results}):
        body: dict[str, Any] = {"model": "tiny", "messages": [QUESTION], **given}
        with pytest.raises(openai.BadRequestError, match="tools: the model's chat template has no"):
            client.chat.completions.create(**body)


SPELT = {"id": "1", "type": "function", "function": {"name": "time", "arguments": "[]"}}


HALF = SPELT | {"function": {"name": "time", "arguments": r'{"x": "\ud800"}'}}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tool_choice": "required"}, "tool_choice comes with tools alone"),
        (
            {"tools": [TIME], "tool_choice": WEATHER | {"function": {"name": "weather"}}},
            "tool_choice: 'weather' isn't one of the tools",
        ),
        ({"tools": [TIME, TIME]}, "tools: two have the same name"),
        ({"tools": [TIME] * 200}, "tools: List should have at most 128 items"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools"),
        (
            {
                "tools": [TIME],
                "tool_choice": "required",
                "response_format": {"type": "json_object"},
            },
            "tool_choice: a call that is required can't match response_format, regex or choices",
        ),
        (
            {
                "tools": [
                    {"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}
                ],
                "tool_choice": "required",
            },
            "tools: the parameters of 'f' must be of type object",
        ),
        (
            {"messages": [QUESTION, {"role": "assistant", "tool_calls": [SPELT]}]},
            "messages: the arguments of the call '1' aren't a JSON object",
        ),
        (
            {"messages": [QUESTION, {"role": "assistant", "tool_calls": [HALF]}]},
            "messages: the arguments of the call '1' aren't a JSON object",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages"),
        (
            {
                "messages": [QUESTION, {"role": "assistant", "content": "It"}],
                "tools": [TIME],
                "extra_body": {"add_generation_prompt": False, "continue_final_message": True},
            },
            "continue_final_message: not beside tools and their calls",
        ),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": [SPELT]}]}, "messages"),
    ],
)
def test_what_cannot_be_called_is_refused(site, given, message):
    with pytest.raises(openai.BadRequestError) as refused:
        site.chat(TAGGED, **given)
    assert refused.value.body["message"].startswith(message)
