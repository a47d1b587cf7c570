"""An endpoint's responses, and the names of its failures."""

import json
import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.roles.responses import Denied, FailedTry, parse_response
from vcjax.roles.role import Ask, Reply

WORDS = ["choices", "message", "content", "finish_reason", "usage", "model", "logprobs"]
ASK = Ask("a", ({"role": "user", "content": "Why?"},), 9)


def completion(content="So.", finish_reason="stop", **more):
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}} | more


def read(value, status=200, headers=None, ask=ASK):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return parse_response(status, headers or {}, body, ask)


def test_an_answer_is_read_with_its_tokens_and_the_model_that_gave_it():
    reply = read(completion(" So. \n", model="m-2", system_fingerprint="fp"))
    assert reply == Reply("So.", "stop", 7, 3, model="m-2 fp")
    assert read(completion(finish_reason="length")).finish_reason == "length"
    assert read({"choices": [{"message": {"content": "So."}}]}) == Reply("So.", "stop", 0, 0)
    assert read(completion("a\ud800b")).text == "a?b"
    refused = completion(None)
    refused["choices"][0]["message"]["refusal"] = "No."
    assert read(refused).text == "No."


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (completion(finish_reason="content_filter"), "content filter"),
        (completion(""), "empty"),
        (completion(None), "empty"),
    ],
)
def test_an_answer_without_a_text_is_a_reply_with_its_outcome(answer, outcome):
    reply = read(answer)
    assert (reply.outcome, reply.finish_reason, reply.text) == (outcome, outcome, "")
    assert (reply.prompt_tokens, reply.tokens) == (7, 3)  # they were paid for


@pytest.mark.parametrize(
    ("status", "answer", "outcome", "retry"),
    [
        (200, b"", "empty", True),
        (200, b" \n", "empty", True),
        (200, b"<html>Bad gateway</html>", "not JSON", True),
        (200, b'{"choices": [{"message"', "cut off", True),
        (200, b'{"choices": [{"message": {"content": "a"}}]', "cut off", True),
        (200, b'{"choices": nothing}', "not JSON", True),
        (200, b"[" * 100_000, "not JSON", True),
        (200, b"\xff\xfe", "not JSON", True),
        (200, [], "wrong schema", True),
        (200, {"answer": "So."}, "wrong schema", True),
        (200, {"choices": []}, "wrong schema", True),
        (200, completion(5), "wrong schema", True),
        (200, completion(finish_reason="tool_calls"), "wrong schema", True),
        (429, b"slow down", "rate limited", True),
        (500, b"", "server error", True),
        (503, {"error": {"message": "loading"}}, "server error", True),
        (408, b"", "timeout", True),
        (400, {"error": {"code": "content_filter"}}, "content filter", False),
        (403, {"error": {"code": "content_filter"}}, "content filter", False),
        (
            400,
            {"error": {"innererror": {"code": "ResponsibleAIPolicyViolation"}}},
            "content filter",
            False,
        ),
        (400, {"error": {"code": "context_length_exceeded"}}, "too long", False),
        (400, {"error": {"message": "the maximum context length is 9"}}, "too long", False),
        (413, b"", "too long", False),
        (400, {"error": {"message": "no such option"}}, "bad request", False),
        (422, {"detail": "?"}, "bad request", False),
        (301, b"", "bad request", False),
    ],
)
def test_a_failure_has_its_name_and_whether_a_retry_may_help(status, answer, outcome, retry):
    with pytest.raises(FailedTry) as caught:
        read(answer, status)
    assert (caught.value.outcome, caught.value.retry) == (outcome, retry)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (401, b""),
        (403, b""),
        (404, {"error": {"message": "no model 'x'"}}),
        (429, {"error": {"code": "insufficient_quota"}}),
    ],
)
def test_what_no_ask_can_mend_is_an_error_of_its_own(status, answer):
    with pytest.raises(Denied, match=f"HTTP {status}"):
        read(answer, status)


def test_the_wait_that_an_endpoint_wants_is_a_number_or_a_date():
    def wait(value):
        with pytest.raises(FailedTry) as caught:
            read(b"", 429, {"retry-after": value})
        return caught.value.wait

    assert wait("7") == 7
    assert wait("0.25") == 0.25
    assert wait("-3") == 0
    assert wait(formatdate(time.time() - 60, usegmt=True)) == 0
    assert 3000 < wait(formatdate(time.time() + 3600, usegmt=True)) <= 3600
    assert wait("soon") is wait("inf") is wait("nan") is wait("") is None


def test_what_the_number_might_have_been_is_read_where_it_was_asked_for():
    def token(text, *others):
        return {"token": text, "logprob": -0.1, "top_logprobs": [*others]}

    others = [{"token": "4", "logprob": -0.1}, {"token": "5", "logprob": -2.5}]
    answer = completion('{"score": 4}')
    answer["choices"][0]["logprobs"] = {
        "content": [token('{"score":'), token(" "), token("4", *others), token("}")]
    }
    ask = Ask("a", ASK.messages, 9, json_schema={"type": "object"}, top_logprobs=2)
    assert read(answer, ask=ask).alternatives == ((("4", -0.1), ("5", -2.5)),)
    assert read(answer).alternatives == ()


@given(st.sampled_from([200, 400, 429, 500]), st.binary())
def test_no_body_is_a_reply_or_breaks_the_reader(status, body):
    with pytest.raises(FailedTry):
        read(body, status)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(WORDS), inner),
    )
)
def test_json_of_any_shape_ends_in_an_outcome(value):
    assert outcome(value) in ("ok", "empty", "wrong schema")


def outcome(value):
    try:
        return read(value).outcome
    except FailedTry as failed:
        return failed.outcome
