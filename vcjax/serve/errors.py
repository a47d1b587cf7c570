"""Every way that a request can fail, in the shape of OpenAI's API."""

import re
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from vcjax.core.errors import UserError, suggest
from vcjax.generate.service import Busy, Closed

INVALID = "invalid_request_error"
RETRY_AFTER = {"Retry-After": "1"}
"""Seconds. OpenAI's client waits so long before it tries again."""


class ApiError(Exception):
    """A failed request: its HTTP status and the body that the client gets."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Args: `kind` is OpenAI's `type`."""
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})
        self.body = {
            "error": {"message": message, "type": kind, "param": param, "code": code},
        }

    def response(self) -> Response:
        """The HTTP response."""
        return JSONResponse(self.body, self.status, headers=self.headers)


def unavailable(message: str, code: str) -> ApiError:
    """A request that may succeed later."""
    return ApiError(503, message, kind="server_error", code=code, headers=RETRY_AFTER)


def timed_out(seconds: float) -> ApiError:
    """A request that reached the time limit."""
    message = f"no answer within the time limit of {seconds:g} s; ask for fewer tokens"
    return ApiError(504, message, kind="timeout_error", code="timeout")


def internal_error() -> ApiError:
    """An error of the server's own."""
    message = "the server failed on this request; its log has the reason"
    return ApiError(500, message, kind="server_error", code="internal_error")


def api_error(error: Exception, fields: Collection[str] = ()) -> ApiError:
    """The failure that a client gets for an exception.

    Args:
      fields: the names of the request's fields, for suggestions and for `param`.
    """
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ValidationError):
        return _invalid(error, fields)
    if isinstance(error, UserError):
        name = re.match(r"\w+", str(error))
        param = name[0] if name and name[0] in fields else None
        return ApiError(400, str(error), param=param, code="invalid_value")
    if isinstance(error, Busy):
        return ApiError(
            429, str(error), kind="rate_limit_error", code="queue_full", headers=RETRY_AFTER
        )
    if isinstance(error, Closed):
        return unavailable(str(error), "shutting_down")
    if isinstance(error, HTTPException):
        return _http(error)
    return internal_error()


def _invalid(error: ValidationError, fields: Collection[str]) -> ApiError:
    """The first of pydantic's errors, in the words of our own."""
    first = error.errors(include_url=False, include_input=False)[0]
    where, kind, message = _path(first["loc"]), first["type"], first["msg"]
    param = where or None
    if kind == "json_invalid":
        return ApiError(400, f"the body isn't JSON: {message.removeprefix('Invalid JSON: ')}")
    if kind == "extra_forbidden":
        hint = suggest(str(first["loc"][-1]), fields) if len(first["loc"]) == 1 else ""
        text = f"{where}: this server has no such field{hint}"
        return ApiError(400, text, param=param, code="unknown_parameter")
    if kind == "missing":
        text = f"{where}: this field is missing"
        return ApiError(400, text, param=param, code="missing_required_parameter")
    message = (
        message.removeprefix("Value error, ")
        .replace("Input should", "must")
        .replace("valid array", "list")
    )
    code = "invalid_type" if kind.endswith("_type") else "invalid_value"
    return ApiError(400, f"{where or 'the body'}: {message}", param=param, code=code)


def _path(parts: tuple[Any, ...]) -> str:
    """`messages[0].content` from ("messages", 0, "content")."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _http(error: HTTPException) -> ApiError:
    names = {404: "there is nothing at this address; docs/guides/serve.md has those that there are"}
    message = names.get(error.status_code, HTTPStatus(error.status_code).phrase.lower())
    return ApiError(error.status_code, message, headers=error.headers)
