"""What is done around every HTTP request: the API key, ids, counts and the access log."""

import hmac
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vcjax.serve.endpoint import JOB
from vcjax.serve.errors import ApiError, internal_error
from vcjax.serve.metrics import Metrics

_ID = "x-request-id"
_GIVEN_ID = re.compile(r"[\x21-\x7e]{1,128}")


class RequireKey:
    """Refuses requests without the API key."""

    def __init__(self, app: ASGIApp, key: str, free: frozenset[str]) -> None:
        """Args: `free` are the paths that need no key."""
        self._app, self._key, self._free = app, key.encode(), free

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._key and scope["type"] == "http" and scope["path"] not in self._free:
            given = Headers(scope=scope).get("authorization", "").removeprefix("Bearer ")
            # In constant time, so that the time of the refusal reveals nothing of the key.
            if not hmac.compare_digest(given.encode(), self._key):
                headers = {"WWW-Authenticate": "Bearer"}
                message = "the API key is missing or wrong; send Authorization: Bearer KEY"
                error = ApiError(401, message, code="invalid_api_key", headers=headers)
                await error.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)


class Observed:
    """Gives each request an id, counts the responses and their time, and writes the access log.

    The id is the header `x-request-id`: the client's own, or a new one. A line of the log is a JSON
    object: when, who, what, the outcome, the seconds, and the tokens of an answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        paths: frozenset[str],
        log: Callable[[str], None] | None,
    ) -> None:
        """Args:
        paths: that are counted by their name.
        log: is given each line of the access log; None where there is none.
        """
        self._app, self._metrics, self._paths, self._log = app, metrics, paths, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # One label for every other path: clients must not be able to make new time series.
        path = scope["path"] if scope["path"] in self._paths else "other"
        start, status = time.perf_counter(), 0
        given = Headers(scope=scope).get(_ID, "")
        identity = given if _GIVEN_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._metrics.responses.labels(path, str(status)).inc()
                headers = [*message.get("headers", ()), (_ID.encode(), identity.encode())]
                message = {**message, "headers": headers}
            await send(message)

        with self._metrics.open.track_inprogress():
            try:
                await self._app(scope, receive, counted)
            except Exception:
                # Starlette answers it outside of all middleware, where it would have no id and
                # not be counted. Raised again, it is written to the server's log.
                if not status:
                    await internal_error().response()(scope, receive, counted)
                raise
            finally:
                seconds = time.perf_counter() - start
                self._metrics.seconds.labels(path).observe(seconds)
                if self._log is not None:
                    self._log(_line(scope, identity, status, seconds))


def _line(scope: Mapping[str, Any], identity: str, status: int, seconds: float) -> str:
    entry = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "id": identity,
        "client": (scope.get("client") or [""])[0],
        "method": scope["method"],
        "path": scope["path"],
        "status": status or None,  # none was sent to a client that had gone
        "seconds": round(seconds, 4),
    }
    if (job := scope.get(JOB)) is not None:
        entry |= {"model": job.name, **job.usage()}
    return json.dumps(entry)
