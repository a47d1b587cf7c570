"""The answer to one HTTP request: its choices, as one object or piece by piece in a stream."""

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Any, Protocol

from starlette.types import Send

from vcjax.generate.requests import Event, Scored
from vcjax.serve.continuations import Submission, Update
from vcjax.serve.errors import ApiError, internal_error, unavailable
from vcjax.serve.models import Loaded

_STUCK = (
    "what constrains the text (regex, choices, JSON schema or tools) can't be continued: it allows "
    "no further token, or takes too much work; make it simpler"
)
_STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
]


@dataclass
class Choice:
    """One whole continuation."""

    text: str = ""
    events: list[Event] = field(default_factory=list)
    finish_reason: str | None = None

    def add(self, update: Update) -> None:
        """Appends a token, or the end."""
        self.text += update.text
        self.events.append(update.event)
        self.finish_reason = update.event.finish_reason


def check_end(event: Event) -> None:
    """Raises an ApiError if a continuation was cancelled or failed."""
    if event.finish_reason == "cancelled":  # not by its client, who would not be here
        raise unavailable("the server is shutting down", "shutting_down")
    if event.is_stuck:
        raise ApiError(400, _STUCK, code="invalid_value")
    if event.finish_reason == "error":
        raise internal_error()


class Format(Protocol):
    """How one of the two APIs writes choices, each as a JSON object."""

    kind: str
    """`object` of a whole answer."""
    chunk_kind: str
    """`object` of a chunk of a stream."""
    prefix: str
    """Of the ids of answers."""

    async def prepare(self) -> None:
        """Scores prompts after which nothing is generated."""
        ...

    def take_scores(self, index: int, scores: Scored) -> None:
        """Receives the scores of a choice's prompt, before its opening; takes long."""
        ...

    def whole(self, index: int, choice: Choice) -> dict[str, Any]:
        """A finished choice."""
        ...

    def beside_choices(self) -> dict[str, Any]:
        """Other fields of a whole answer."""
        ...

    def opening(self, index: int) -> dict[str, Any] | None:
        """The first chunk of a choice, before any token."""
        ...

    def piece(self, index: int, text: str, events: Sequence[Event]) -> dict[str, Any] | None:
        """The next tokens of a choice; None if there is nothing to send."""
        ...

    def closing(self, index: int, finish_reason: str) -> dict[str, Any]:
        """The last chunk of a choice."""
        ...


@dataclass
class Job:
    """A valid request: what to submit to the engine, and how to write the answer.

    Attributes:
      name: of the model, as requested.
      submissions: one for each choice; empty where prompts are only scored.
      count: number of choices, `choices_each` of each prompt.
      prompt_tokens: of all prompts together; `cached_tokens` of them weren't run again.
      scores: log-probabilities of prompts in the answer.
      completion_tokens: of all choices together, so far.
    """

    name: str
    loaded: Loaded
    submissions: Sequence[Submission]
    count: int
    choices_each: int
    format: Format
    stream: bool
    include_usage: bool
    prompt_tokens: int
    scores: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    created: int = field(default_factory=lambda: int(time.time()))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def whole(self, choices: Sequence[Choice]) -> dict[str, Any]:
        """The answer as one object."""
        for index, choice in enumerate(choices):
            if choice.events and (scores := choice.events[0].prompt) is not None:
                self.format.take_scores(index, scores)
        written = [self.format.whole(index, choice) for index, choice in enumerate(choices)]
        more = self.format.beside_choices()
        return {**self._head(self.format.kind), "choices": written, "usage": self.usage(), **more}

    def chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        """An object of the stream."""
        usage = {"usage": None} if self.include_usage else {}
        return {**self._head(self.format.chunk_kind), "choices": [choice], **usage}

    def usage_chunk(self) -> dict[str, Any]:
        """The counts of tokens, as the last object of the stream."""
        return {**self._head(self.format.chunk_kind), "choices": [], "usage": self.usage()}

    def usage(self) -> dict[str, Any]:
        """Counts of tokens so far, over all choices."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }

    def _head(self, kind: str) -> dict[str, Any]:
        identity = f"{self.format.prefix}-{self.id}"
        return {"id": identity, "object": kind, "created": self.created, "model": self.name}


class EventStream:
    """A response of server-sent events.

    Its status is sent with the first event; until then another response may be sent instead.
    """

    def __init__(self, send: Send) -> None:
        self._send, self.started = send, False

    async def write(self, content: dict[str, Any]) -> None:
        """Sends one object; waits while the client is slow to read."""
        # `allow_nan`: a client's parser would fail on what isn't JSON.
        await self._write(
            json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        )

    async def end(self) -> None:
        """Sends the marker of a complete stream."""
        await self._write("[DONE]")
        await self._finish()

    async def fail(self, error: ApiError) -> None:
        """Ends with an error."""
        await self.write(error.body)
        await self._finish()

    async def _write(self, line: str) -> None:
        if not self.started:
            self.started = True
            start = {"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS}
            await self._send(start)
        await self._send(_body(f"data: {line}\n\n", more=True))

    async def _finish(self) -> None:
        await self._send(_body("", more=False))


def _body(text: str, *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": text.encode(), "more_body": more}


class StreamedAnswer:
    """A job's choices as they are sent; the text itself is not kept."""

    def __init__(self, job: Job, out: EventStream) -> None:
        self._job, self._out = job, out
        self._opened: set[int] = set()
        self._closed: set[int] = set()

    async def send(self, updates: Sequence[Update]) -> None:
        """Sends one chunk of each choice for all of its tokens in `updates`.

        Raises:
          ApiError: a choice was cancelled or failed.
        """
        by_index = attrgetter("index")
        # Sorting is stable: a choice's tokens stay in order.
        for index, group in groupby(sorted(updates, key=by_index), by_index):
            own = list(group)
            text, events = "".join(each.text for each in own), [each.event for each in own]
            reason = events[-1].finish_reason
            check_end(events[-1])  # before the opening: see there
            await self._open(index, events[0].prompt)
            if (piece := self._job.format.piece(index, text, events)) is not None:
                await self._out.write(self._job.chunk(piece))
            if reason is not None:
                await self._close(index, reason)

    async def end(self) -> None:
        """Ends the stream; a choice that is still open was cut off."""
        for index in range(self._job.count):
            if index not in self._closed:
                await self._open(index, None)
                await self._close(index, "length")
        if self._job.include_usage:
            await self._out.write(self._job.usage_chunk())
        await self._out.end()

    async def _open(self, index: int, scores: Scored | None) -> None:
        # With the first tokens and not before: until then a failure can have its own status.
        if index in self._opened:
            return
        self._opened.add(index)
        if scores is not None:
            await asyncio.to_thread(self._job.format.take_scores, index, scores)
        if (piece := self._job.format.opening(index)) is not None:
            await self._out.write(self._job.chunk(piece))

    async def _close(self, index: int, reason: str) -> None:
        await self._out.write(self._job.chunk(self._job.format.closing(index, reason)))
        self._closed.add(index)
