"""The HTTP responses of an OpenAI-compatible endpoint: a reply, or a failure by its name.

The format: https://platform.openai.com/docs/api-reference/chat
"""

import email.utils
import json
import re
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from pydantic import BaseModel, Field, ValidationError

from vcjax.roles.role import (
    CONTENT_FILTER,
    TOO_LONG,
    Alternatives,
    Ask,
    Reply,
    number_alternatives,
    writable,
)

RATE_LIMITED, SERVER_ERROR = "rate limited", "server error"
TIMEOUT, CUT_OFF, UNREACHABLE = "timeout", "cut off", "unreachable"
EMPTY, NOT_JSON, WRONG_SCHEMA, BAD_REQUEST = "empty", "not JSON", "wrong schema", "bad request"

NO_ANSWER = (RATE_LIMITED, SERVER_ERROR, TIMEOUT, CUT_OFF)
"""Outcomes that aren't due to the ask: the endpoint is overloaded or broken. With `UNREACHABLE`
nobody is there at all."""

_FILTERED = {"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"}
_TOO_LONG = {"context_length_exceeded", "string_above_max_length"}
_TOO_LONG_WORDS = re.compile(r"context (length|window|size)|model's context", re.IGNORECASE)
"""vLLM, llama.cpp and `launch.serve` have no code for it, only a message."""

_LONGEST_DETAIL = 500


class FailedTry(Exception):
    """A request that brought no reply.

    Attributes:
      outcome: the name of the failure.
      retry: whether another request may bring a reply.
      wait: seconds after which the endpoint asks to be called again; None where it doesn't.
    """

    def __init__(
        self, outcome: str, detail: str = "", *, retry: bool, wait: float | None = None
    ) -> None:
        super().__init__(outcome, detail)
        self.outcome, self.retry, self.wait = outcome, retry, wait
        self.detail = writable(" ".join(detail.split()))[:_LONGEST_DETAIL]


class Denied(Exception):
    """The endpoint rejects every request: there is no such model, or the key isn't accepted."""


def parse_response(status: int, headers: Mapping[str, str], body: bytes, ask: Ask) -> Reply:
    """Parses the reply in an HTTP response; its seconds and cost are left at 0.

    Raises:
      FailedTry: the response contains no reply.
      Denied: no request will get one.
    """
    text = body.decode(errors="replace")
    if status != 200:
        _raise_error(status, headers, text)
    if not text.strip():
        raise FailedTry(EMPTY, "no body", retry=True)
    completion = _completion(text)
    choice = completion.choices[0]
    usage = completion.usage or _Usage()
    known = {
        "prompt_tokens": usage.prompt_tokens,
        "tokens": usage.completion_tokens,
        "model": writable(" ".join(filter(None, (completion.model, completion.fingerprint)))),
    }
    # OpenAI's models have a field of its own for a refusal, beside a `content` of null.
    content = writable(choice.message.content or choice.message.refusal or "").strip()
    if choice.finish_reason == "content_filter":
        return Reply.failed(CONTENT_FILTER, f"finish_reason content_filter: {content}", **known)
    if choice.finish_reason in ("tool_calls", "function_call"):
        raise FailedTry(WRONG_SCHEMA, f"finish_reason {choice.finish_reason}", retry=True)
    reason = "length" if choice.finish_reason == "length" else "stop"
    if not content and reason == "stop":
        return Reply.failed(EMPTY, "no text", **known)
    return Reply(content, reason, alternatives=_alternatives(choice, ask), **known)


def _raise_error(status: int, headers: Mapping[str, str], text: str) -> NoReturn:
    codes, message = _error(text)
    detail = f"HTTP {status}: {message}"
    if codes & _FILTERED:
        raise FailedTry(CONTENT_FILTER, detail, retry=False)
    if status in (401, 403, 404):
        raise Denied(detail)
    if status == 429:
        if "insufficient_quota" in codes:  # unlike a rate limit, waiting doesn't end it
            raise Denied(detail)
        raise FailedTry(RATE_LIMITED, detail, retry=True, wait=_wait(headers))
    if status >= 500:
        raise FailedTry(SERVER_ERROR, detail, retry=True, wait=_wait(headers))
    if status == 408:
        raise FailedTry(TIMEOUT, detail, retry=True)
    # By words only here, among the rejected requests: a message of another kind may mention the
    # context.
    if codes & _TOO_LONG or status == 413 or _TOO_LONG_WORDS.search(message):
        raise FailedTry(TOO_LONG, detail, retry=False)
    raise FailedTry(BAD_REQUEST, detail, retry=False)


def _error(text: str) -> tuple[set[str], str]:
    """The codes in an error's body, those of inner errors too, and its message or the body."""
    try:
        error = json.loads(text)["error"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return set(), text
    if not isinstance(error, dict):
        return set(), str(error)
    codes, level = set(), error
    for _ in range(4):  # Azure nests its codes in inner errors
        if not isinstance(level, dict):
            break
        codes |= {str(level[name]) for name in ("code", "type") if level.get(name)}
        level = level.get("innererror")
    return codes, str(error.get("message", text))


def _wait(headers: Mapping[str, str]) -> float | None:
    """Seconds in `Retry-After`, which is a number or a date (RFC 9110, 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    # NaN isn't below infinity either.
    return max(0.0, seconds) if seconds < float("inf") else None


class _Token(BaseModel):
    token: str
    logprob: float


class _Position(_Token):
    top_logprobs: list[_Token] = []


class _Logprobs(BaseModel):
    content: list[_Position] | None = None


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None
    model: str | None = None
    fingerprint: str | None = Field(default=None, alias="system_fingerprint")


def _completion(text: str) -> _Completion:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        whole = text.strip()
        # A proxy's HTML page and a body that was cut off are both no JSON, but only the latter
        # begins as JSON does and lacks its end.
        ended = isinstance(error, json.JSONDecodeError) and error.pos >= len(whole)
        if whole.startswith("{") and (ended or not whole.endswith("}")):
            raise FailedTry(CUT_OFF, f"JSON without its end: {text}", retry=True) from None
        raise FailedTry(NOT_JSON, text, retry=True) from None
    try:
        return _Completion.model_validate(value)
    except ValidationError:
        raise FailedTry(WRONG_SCHEMA, text, retry=True) from None


def _alternatives(choice: _Choice, ask: Ask) -> tuple[Alternatives, ...]:
    positions = None if choice.logprobs is None else choice.logprobs.content
    if not ask.top_logprobs or ask.json_schema is None or not positions:
        return ()
    top = [
        tuple((writable(each.token), each.logprob) for each in position.top_logprobs)
        for position in positions
    ]
    tokens = [(writable(position.token), position.logprob) for position in positions]
    return number_alternatives(tokens, top)
