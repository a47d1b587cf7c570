"""Reading a body within bounds, and noticing that a client has gone."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from vcjax.generate.service import Busy, Closed
from vcjax.serve.errors import ApiError

Result = TypeVar("Result")


class Gate:
    """Bounds the requests under way, and lets none in once the server closes."""

    def __init__(self, most: int) -> None:
        self.most, self.inside, self.closing = most, 0, False

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Raises: Busy, Closed."""
        if self.closing:
            raise Closed("the server is shutting down")
        if self.inside >= self.most:
            raise Busy(f"{self.inside} requests are under way; try again later")
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1


async def read_body(request: Request, most: int) -> bytes:
    """The body of a request for JSON. What a client says of its length isn't relied on.

    Asking for the media type keeps web pages of other origins from posting here: a browser sends it
    for them only after asking the server, which doesn't answer that.

    Raises:
      ApiError: another media type, or more than `most` bytes.
      ClientDisconnect: the client went.
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        message = f"send the body as Content-Type: application/json, not {media or 'without one'}"
        raise ApiError(415, message, code="unsupported_media_type")
    said = request.headers.get("content-length", "0")
    parts, size = [], 0
    if said.isascii() and said.isdigit() and int(said) > most:
        raise _too_large(most)
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise _too_large(most)
        parts.append(part)
    return b"".join(parts)


def _too_large(most: int) -> ApiError:
    message = f"the body is larger than this server's bound of {most:,} bytes"
    return ApiError(413, message, code="request_too_large")


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result:
    """Runs `work` to its end, or cancels it once the client has gone.

    Raises:
      ClientDisconnect: it has.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
