"""Fields of OpenAI's API and of vLLM's that harness and clients send, and what answers report."""

import json
import re

import pytest

from tests.serve.crowd import CHAT
from tests.serve.servers import eventually
from vcjax.generate.requests import SamplingParams

TEXT = "/v1/completions"
ASKED = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "Why do people disagree?"}],
    "max_tokens": 20,
    "seed": 3,
}


@pytest.fixture
def answered(server):
    """Asks for a chat with changes, and gives the answer."""

    def ask(**changes):
        response = server.send(CHAT, ASKED | changes)
        assert response.status == 200, response.content
        return response.json

    return ask


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"run": "7"}, "store": True, "service_tier": "auto", "user": "someone"},
        {"safety_identifier": "a", "prompt_cache_key": "b", "parallel_tool_calls": True},
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "none"},
        {"best_of": 1},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"messages": [ASKED["messages"][0] | {"name": "someone"}]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_harmless_field_changes_nothing(answered, changes):
    assert answered(**changes)["choices"] == answered()["choices"]


def test_a_stream_takes_the_options_of_openai_s_clients(server):
    options = {"include_usage": True, "include_obfuscation": False}
    response = server.send(CHAT, ASKED | {"stream": True, "stream_options": options})
    assert response.status == 200


def test_an_answer_without_a_text_may_be_sent_back(answered):
    empty = {"role": "assistant", "content": None, "refusal": None}
    messages = [*ASKED["messages"], empty, {"role": "user", "content": "And?"}]
    spelt = [*ASKED["messages"], empty | {"content": ""}, {"role": "user", "content": "And?"}]
    assert answered(messages=messages)["choices"] == answered(messages=spelt)["choices"]


def test_an_answer_ends_before_a_token_that_is_to_stop_it(server, text_engine):
    body = {"model": "tiny", "prompt": "Grade the", "max_tokens": 30, "ignore_eos": True, "seed": 5}
    (request,) = [text_engine.request("Grade the", SamplingParams(30, 1.0, seed=5))]
    whole = server.send(TEXT, body | {"logprobs": 0}).json["choices"][0]
    assert whole["finish_reason"] == "length"
    assert len(whole["logprobs"]["tokens"]) == 30
    names = whole["logprobs"]["tokens"]
    at = next(n for n in range(5, 30) if names[n] not in names[:n] and "byte" not in names[n])
    (stop,) = text_engine.tokenizer.encode(names[at], special=True)
    cut = server.send(TEXT, body | {"logprobs": 0, "stop_token_ids": [stop]}).json["choices"][0]
    assert cut["finish_reason"] == "stop"
    assert cut["logprobs"]["tokens"] == names[: at + 1]
    assert whole["text"].startswith(cut["text"])
    assert request.eos_ids


def test_usage_says_how_much_of_a_prompt_was_not_run_again(answered):
    messages = [{"role": "user", "content": "cached 缓存 " * 20}]
    first, then = (answered(messages=messages, n=2)["usage"] for _ in range(2))
    assert 0 <= first["prompt_tokens_details"]["cached_tokens"] < 32
    cached = then["prompt_tokens_details"]["cached_tokens"]
    assert cached > 32
    assert cached % 32 == 0
    assert cached < then["prompt_tokens"]


def test_a_request_has_its_client_s_id_or_a_new_one(server):
    assert server.send(CHAT, ASKED, X_Request_Id="mine-7").headers["x-request-id"] == "mine-7"
    given = server.send(CHAT, ASKED | {"n": 0}, X_Request_Id="two words").headers["x-request-id"]
    assert re.fullmatch(r"req_[0-9a-f]{32}", given)
    assert server.send("/v1/models", Authorization="").headers["x-request-id"].startswith("req_")


def test_each_request_is_a_line_of_the_access_log(server):
    server.send(CHAT, ASKED | {"min_tokens": 7, "max_tokens": 7}, X_Request_Id="logged-1")
    server.send(CHAT, b"nonsense", X_Request_Id="logged-2")

    def logged(identity: str) -> list[dict]:
        return [json.loads(line) for line in server.lines if f'"{identity}"' in line]

    eventually(lambda: bool(logged("logged-1") and logged("logged-2")))
    (good,), (bad,) = logged("logged-1"), logged("logged-2")
    assert (good["method"], good["path"], good["status"]) == ("POST", CHAT, 200)
    assert (good["model"], good["completion_tokens"]) == ("tiny", 7)
    assert good["seconds"] > 0
    assert bad["status"] == 400
    assert "completion_tokens" not in bad


def test_the_times_to_the_first_token_and_between_tokens_are_counted(server):
    names = ("vcjax_first_token_seconds_count", "vcjax_between_tokens_seconds_count")
    before = [server.metric(name) for name in names]
    for stream in (False, True):
        asked = ASKED | {"min_tokens": 9, "max_tokens": 9, "stream": stream}
        assert server.send(CHAT, asked).status == 200
    assert [server.metric(name) for name in names] == [before[0] + 2, before[1] + 16]
