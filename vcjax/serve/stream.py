"""An answer piece by piece, as server-sent events."""

import json
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from starlette.types import Send

from vcjax.serve.answers import News
from vcjax.serve.choices import Job, raise_fault
from vcjax.serve.errors import ApiError

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
]


class EventStream:
    """A response of events. It begins with the first one; until then another may be sent."""

    def __init__(self, send: Send) -> None:
        self._send, self.started = send, False

    async def write(self, content: dict[str, Any]) -> None:
        """Sends one object; waits while the client is slow to read."""
        await self._write(
            json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        )

    async def end(self) -> None:
        """Says that all has been sent."""
        await self._write("[DONE]")
        await self._finish()

    async def fail(self, error: ApiError) -> None:
        """Ends with an error."""
        await self.write(error.body)
        await self._finish()

    async def _write(self, line: str) -> None:
        if not self.started:
            self.started = True
            await self._send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await self._send(_body(f"data: {line}\n\n", more=True))

    async def _finish(self) -> None:
        await self._send(_body("", more=False))


def _body(text: str, *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": text.encode(), "more_body": more}


class Told:
    """What has been told of a job's choices in a stream: it is sent, and not kept."""

    def __init__(self, job: Job, out: EventStream) -> None:
        self._job, self._out = job, out
        self._made = 0
        self._closed: set[int] = set()

    async def tell(self, news: Sequence[News]) -> None:
        """Sends one piece of each choice for all of its tokens in `news`.

        Raises:
          ApiError: a choice came to a bad end.
        """
        await self._open()
        # Sorting is stable: a choice's tokens stay in order.
        for index, group in groupby(sorted(news, key=attrgetter("index")), attrgetter("index")):
            each = list(group)
            text, events = "".join(one.text for one in each), [one.event for one in each]
            raise_fault(events[-1].finish_reason)
            self._made += sum(event.token is not None for event in events)
            if (piece := self._job.format.piece(index, text, events)) is not None:
                await self._out.write(self._job.chunk(piece))
            if (reason := events[-1].finish_reason) is not None:
                await self._close(index, reason)

    async def end(self) -> None:
        """Ends the stream; a choice that is still open was cut."""
        await self._open()
        for index in range(self._job.count):
            if index not in self._closed:
                await self._close(index, "length")
        if self._job.include_usage:
            await self._out.write(self._job.last_chunk(self._made))
        await self._out.end()

    async def _open(self) -> None:
        if self._out.started:
            return
        for index in range(self._job.count):
            if (piece := self._job.format.opening(index)) is not None:
                await self._out.write(self._job.chunk(piece))

    async def _close(self, index: int, reason: str) -> None:
        await self._out.write(self._job.chunk(self._job.format.closing(index, reason)))
        self._closed.add(index)
