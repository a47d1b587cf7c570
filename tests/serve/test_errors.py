"""The error responses to a client's mistakes, while other clients are served."""

import json

import pytest

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
GOOD = {"model": "tiny", "messages": [{"role": "user", "content": "Why?"}], "max_tokens": 2}
CONTEXT = 4096


@pytest.fixture(autouse=True)
def still_serving(server):
    """After each mistake the next one is answered."""
    yield
    assert server.send(CHAT, GOOD).status == 200
    assert server.health()["models"]["tiny"]["decoding"] == 0


MISTAKES = [
    (
        {"temprature": 0.5},
        "temprature",
        "temprature: this server has no such field; did you mean 't",
    ),
    ({"tools": [{}]}, "tools[0].type", "tools[0].type: this field is missing"),
    ({"modalities": ["audio"]}, "modalities", "modalities: this server has no such field"),
    ({"best_of": 2}, "best_of", "best_of must be n, 1: this server chooses no answers"),
    ({"ignore_eos": True, "regex": "a"}, "ignore_eos", "ignore_eos: the end of a text with a con"),
    ({"stop_token_ids": [729]}, "stop_token_ids", "stop_token_ids: one isn't in the vocabulary of"),
    ({"stop_token_ids": [-1]}, "stop_token_ids[0]", "stop_token_ids[0]: must be greater than or"),
    (
        {"chat_template_kwargs": {"messages": []}},
        "chat_template_kwargs",
        "chat_template_kwargs: 'messages' isn't for a request to set",
    ),
    (
        {"chat_template_kwargs": {"date": "<|im_end|>"}},
        "chat_template_kwargs",
        "chat_template_kwargs: 'date' has a special token",
    ),
    (
        {"logit_bias": {str(n): 1 for n in range(301)}},
        "logit_bias",
        "logit_bias: 301 entries; at most 300 are accepted",
    ),
    (
        {"temperature": -0.1},
        "temperature",
        "temperature must be at least 0 and at most 10000, not -0.1",
    ),
    ({"temperature": "hot"}, "temperature", "temperature: must be a valid number"),
    ({"top_p": 0}, "top_p", "top_p must be above 0 and at most 1, not 0"),
    ({"top_p": 1.5}, "top_p", "top_p must be"),
    ({"temperature": 1e300}, "temperature", "temperature must be at least 0 and at most 10000"),
    ({"top_k": -1}, "top_k", "top_k must be at least 0"),
    (
        {"top_k": 3_000_000_000},
        "top_k",
        "top_k must be at least 0 and at most 2147483647, not 3000",
    ),
    ({"top_k": 10**400}, "top_k", "top_k"),
    ({"repetition_penalty": 1e300}, "repetition_penalty", "repetition_penalty must be at least"),
    ({"repetition_penalty": 1e-300}, "repetition_penalty", "repetition_penalty must be at least"),
    ({"stop": "a" * 1001}, "stop", "stop: a stop string of 1001 characters"),
    ({"logit_bias": {"9" * 5000: 1}}, "logit_bias", "logit_bias: "),
    ({"presence_penalty": 3}, "presence_penalty", "presence_penalty must be at least -2 and at"),
    ({"repetition_penalty": 0}, "repetition_penalty", "repetition_penalty must be at least 0.001"),
    ({"max_tokens": 0}, "max_tokens", "max_tokens must be at least 1"),
    ({"max_tokens": 1.5}, "max_tokens", "max_tokens: must be a valid integer"),
    ({"max_tokens": True}, "max_tokens", "max_tokens: must be a valid integer"),
    ({"max_tokens": 3001}, "max_tokens", "max_tokens: this server gives at most 3000 tokens"),
    ({"min_tokens": 5}, "min_tokens", "min_tokens must be at least 0 and at most 2, not 5"),
    ({"n": 0}, "n", "n: must be greater than or equal to 1"),
    ({"n": 1000}, "n", "n: must be less than or equal to 128"),
    ({"stop": ""}, "stop", "stop: a stop string is empty"),
    ({"stop": 5}, "stop", "stop: must be a list"),
    ({"stop": ["a"] * 17}, "stop", "stop: 17 strings"),
    ({"logit_bias": {"x": 1}}, "logit_bias", "logit_bias: must have token ids as keys"),
    ({"logit_bias": {"5": 101}}, "logit_bias", "logit_bias of token 5 must be"),
    ({"logit_bias": {"99999": 1}}, "logit_bias", "logit_bias: token 99999 isn't in the vocabulary"),
    ({"top_logprobs": 2}, "top_logprobs", "top_logprobs come with logprobs=true"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "top_logprobs: must be less than"),
    ({"stream": 1}, "stream", "stream: must be a valid boolean"),
    (
        {"stream_options": {"include_usage": True}},
        "stream_options",
        "stream_options come with stream=true",
    ),
    (
        {"max_completion_tokens": 5},
        "max_tokens",
        "max_tokens and max_completion_tokens are one setting",
    ),
    ({"messages": []}, "messages", "messages: List should have at least 1 item"),
    ({"messages": [{"role": "usr", "content": "?"}]}, "messages[0].role", "messages[0].role: must"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "messages[0].content: this field is"),
    (
        {"messages": [{"role": "user", "content": 5}]},
        "messages[0].content",
        "messages[0].content: must be a text or a list of text parts",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages[0].content[0].type",
        "messages[0].content[0].type: must be 'text'",
    ),
    ({"response_format": {"type": "xml"}}, "response_format.type", "response_format.type: must be"),
    ({"response_format": {"type": "json_schema"}}, "response_format", "response_format: json_sch"),
    (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"type": "spiral"}},
            }
        },
        None,
        "JSON schema can't be compiled",
    ),
    ({"regex": "(a"}, "regex", "regex can't be compiled"),
    ({"choices": []}, "choices", "choices must be"),
    ({"regex": "(a{1000}){1000}", "max_tokens": 3}, None, "what constrains the text (regex, "),
    ({"regex": "(a{1000}){1000}", "stream": True}, None, "what constrains the text (regex, "),
    ({"regex": "a", "choices": ["a"]}, "regex", "regex and choices"),
]


@pytest.mark.parametrize(
    ("changes", "param", "message"), MISTAKES, ids=lambda value: str(value)[:40]
)
def test_a_mistake_is_refused_with_its_field(server, changes, param, message):
    response = server.send(CHAT, GOOD | changes)
    assert response.status == 400
    assert response.error["message"].startswith(message)
    assert response.error["type"] == "invalid_request_error"
    assert response.error["param"] == param


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": 5}, "prompt: must be a text, a list of texts"),
        ({"prompt": ["a", [1]]}, "prompt: must be a text, a list of texts"),
        ({"prompt": [1, -2]}, "prompt: must be a text, a list of texts"),
        ({"prompt": []}, "prompt: must be a text, a list of texts"),
        ({"prompt": ""}, "prompt: is empty"),
        ({"prompt": [100, 99999]}, "prompt: has a token that isn't one of 729"),
        ({"prompt": "a", "logprobs": -1}, "logprobs: must be greater"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens must be at least 1"),
        ({"prompt": ["a"] * 2, "n": 128}, "n: 256 choices; this server takes at most 204"),
        ({}, "prompt: this field is missing"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mistake_in_a_prompt_is_refused(server, changes, message):
    response = server.send(TEXT, {"model": "tiny"} | changes)
    assert response.status == 400
    assert response.error["message"].startswith(message)


def test_a_conversation_that_does_not_fit_is_refused_with_the_numbers(server):
    long = [{"role": "user", "content": "! " * CONTEXT}]
    for changes in ({"messages": long}, {"messages": long, "max_tokens": None}):
        response = server.send(CHAT, GOOD | changes)
        assert response.status == 400
        assert response.error["code"] == "context_length_exceeded"
        assert response.error["param"] == "messages"
        assert "tokens" in response.error["message"]
        assert str(CONTEXT) in response.error["message"]
    response = server.send(TEXT, {"prompt": [100] * CONTEXT, "max_tokens": 1})
    assert response.error["code"] == "context_length_exceeded"
    fits = {"prompt": [100] * (CONTEXT - 1), "max_tokens": 1, "min_tokens": 1}
    assert server.send(TEXT, fits).json["usage"]["total_tokens"] == CONTEXT


def test_what_is_no_json_is_refused(server):
    for body in (b"", b"{", b"nonsense", b"\xff\xfe", b"[" * 100_000, b'{"a": "\\ud800"}'):
        response = server.send(CHAT, body)
        assert response.status == 400
        assert response.error["message"].startswith("the body isn't JSON: ")
    for body in (b"[]", b"5", b"null", b'"text"'):
        assert server.send(CHAT, body).error["message"] == "the body: must be an object"
    response = server.send(CHAT, b"a=b", Content_Type="application/x-www-form-urlencoded")
    assert response.status == 415
    assert "application/json" in response.error["message"]


def test_a_body_beyond_the_bound_is_refused_whatever_length_it_declares(server):
    large = GOOD | {"messages": [{"role": "user", "content": "x" * 10_000_000}]}
    response = server.send(CHAT, large)
    assert response.status == 413
    assert response.error["code"] == "request_too_large"
    assert "1,048,576 bytes" in response.error["message"]
    content = json.dumps(large).encode()
    parts = (content[i : i + 65536] for i in range(0, len(content), 65536))
    connection = server.connect()  # no length is declared: chunks
    headers = {"Content-Type": "application/json", "Authorization": "Bearer sesame"}
    connection.request("POST", CHAT, parts, headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_only_the_key_opens(server):
    for given in ("Bearer wrong", "Bearer ", "sesame2", "Basic sesame", ""):
        for path, body in ((CHAT, GOOD), ("/v1/models", None), ("/metrics", None)):
            response = server.send(path, body, Authorization=given)
            assert response.status == 401
            assert response.error["code"] == "invalid_api_key"
    assert server.send("/health", Authorization="").status == 200


def test_addresses_and_models_that_are_not_there_are_refused(server):
    response = server.send(CHAT, GOOD | {"model": "huge"})
    assert response.status == 404
    assert response.error["code"] == "model_not_found"
    assert "(there are: tiny)" in response.error["message"]
    assert server.send("/v1/models/huge").status == 404
    assert server.send("/v1/embeddings", GOOD).error["type"] == "invalid_request_error"
    response = server.send(CHAT)
    assert (response.status, response.error["message"]) == (405, "method not allowed")
