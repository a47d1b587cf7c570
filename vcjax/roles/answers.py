"""What an OpenAI-compatible endpoint answered: a reply, or a fault by its name.

The format: https://platform.openai.com/docs/api-reference/chat
"""

import email.utils
import json
import re
import time
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from vcjax.roles.alternatives import number_alternatives
from vcjax.roles.role import CONTENT_FILTER, TOO_LONG, Ask, Reply, writable

RATE_LIMITED, SERVER_ERROR = "rate limited", "server error"
TIMEOUT, CUT_OFF, UNREACHABLE = "timeout", "cut off", "unreachable"
EMPTY, NOT_JSON, WRONG_SCHEMA, BAD_REQUEST = "empty", "not JSON", "wrong schema", "bad request"

NO_ANSWER = (RATE_LIMITED, SERVER_ERROR, TIMEOUT, CUT_OFF)
"""Outcomes that say nothing about the ask: the endpoint is overloaded, broken or away."""

_FILTERED = {"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"}
_TOO_LONG = {"context_length_exceeded", "string_above_max_length"}
_TOO_LONG_WORDS = re.compile(r"context (length|window|size)|model's context", re.IGNORECASE)
"""vLLM, llama.cpp and `launch.serve` say it in words alone."""

_LONGEST_DETAIL = 500


class Fault(Exception):
    """A try that brought no reply.

    Attributes:
      outcome: its name.
      again: whether another try may bring one.
      wait: seconds after which the endpoint wants to be asked again; None where it doesn't say.
    """

    def __init__(
        self, outcome: str, detail: str = "", *, again: bool, wait: float | None = None
    ) -> None:
        super().__init__(outcome, detail)
        self.outcome, self.again, self.wait = outcome, again, wait
        self.detail = writable(" ".join(detail.split()))[:_LONGEST_DETAIL]


class Denied(Exception):
    """The endpoint won't have us, whatever we ask: no such model, or a key that isn't taken."""


def read_answer(status: int, headers: Mapping[str, str], body: bytes, ask: Ask) -> Reply:
    """The reply in an HTTP answer; without its seconds and cost.

    Raises:
      Fault: there is none.
      Denied: nor would there ever be.
    """
    text = body.decode(errors="replace")
    if status != 200:
        _refuse(status, headers, text)
    if not text.strip():
        raise Fault(EMPTY, "no body", again=True)
    completion = _completion(text)
    choice = completion.choices[0]
    usage = completion.usage or _Usage()
    known = {
        "prompt_tokens": usage.prompt_tokens,
        "tokens": usage.completion_tokens,
        "model": writable(" ".join(filter(None, (completion.model, completion.fingerprint)))),
    }
    said = writable(choice.message.content or choice.message.refusal or "").strip()
    if choice.finish_reason == "content_filter":
        return Reply.failed(CONTENT_FILTER, f"finish_reason content_filter: {said}", **known)
    if choice.finish_reason in ("tool_calls", "function_call"):
        raise Fault(WRONG_SCHEMA, f"finish_reason {choice.finish_reason}", again=True)
    reason = "length" if choice.finish_reason == "length" else "stop"
    if not said and reason == "stop":
        return Reply.failed(EMPTY, "no text", **known)
    return Reply(said, reason, alternatives=_alternatives(choice, ask), **known)


def _refuse(status: int, headers: Mapping[str, str], text: str) -> None:
    codes, message = _error(text)
    detail = f"HTTP {status}: {message}"
    if codes & _FILTERED:
        raise Fault(CONTENT_FILTER, detail, again=False)
    if status in (401, 403, 404):
        raise Denied(detail)
    if status == 429:
        if "insufficient_quota" in codes:
            raise Denied(detail)
        raise Fault(RATE_LIMITED, detail, again=True, wait=_wait(headers))
    if status >= 500:
        raise Fault(SERVER_ERROR, detail, again=True, wait=_wait(headers))
    if status == 408:
        raise Fault(TIMEOUT, detail, again=True)
    if codes & _TOO_LONG or status == 413 or _TOO_LONG_WORDS.search(message):
        raise Fault(TOO_LONG, detail, again=False)
    raise Fault(BAD_REQUEST, detail, again=False)


def _error(text: str) -> tuple[set[str], str]:
    """The codes in an error's body, at whatever depth, and its message or the body itself."""
    try:
        error = json.loads(text)["error"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return set(), text
    if not isinstance(error, dict):
        return set(), str(error)
    codes, level = set(), error
    for _ in range(4):  # Azure nests them
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
    return max(0.0, seconds) if seconds < float("inf") else None


class _Token(BaseModel):
    token: str
    logprob: float


class _Place(_Token):
    top_logprobs: list[_Token] = []


class _Logprobs(BaseModel):
    content: list[_Place] | None = None


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
        ended = isinstance(error, json.JSONDecodeError) and error.pos >= len(whole)
        if whole.startswith("{") and (ended or not whole.endswith("}")):
            raise Fault(CUT_OFF, f"JSON without its end: {text}", again=True) from None
        raise Fault(NOT_JSON, text, again=True) from None
    try:
        return _Completion.model_validate(value)
    except ValidationError:
        raise Fault(WRONG_SCHEMA, text, again=True) from None


def _alternatives(choice: _Choice, ask: Ask) -> tuple:
    places = None if choice.logprobs is None else choice.logprobs.content
    if not ask.top_logprobs or ask.json_schema is None or not places:
        return ()
    top = [
        tuple((writable(each.token), each.logprob) for each in place.top_logprobs)
        for place in places
    ]
    tokens = [(writable(place.token), place.logprob) for place in places]
    return number_alternatives(tokens, top)
