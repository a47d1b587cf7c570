"""What becomes of one request: choices, told whole or piece by piece in a format's shape."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from vcjax.generate.requests import Event
from vcjax.serve.answers import Asked, News
from vcjax.serve.errors import failed, unavailable
from vcjax.serve.models import Loaded


@dataclass
class Choice:
    """One whole continuation."""

    text: str = ""
    events: list[Event] = field(default_factory=list)
    finish_reason: str | None = None

    def add(self, news: News) -> None:
        """Takes in a token, or the end."""
        self.text += news.text
        self.events.append(news.event)
        self.finish_reason = news.event.finish_reason

    @property
    def tokens(self) -> int:
        """Length of the continuation."""
        return sum(event.token is not None for event in self.events)


def raise_fault(finish_reason: str | None) -> None:
    """Raises an ApiError where a continuation came to a bad end."""
    if finish_reason == "cancelled":  # not by its client, who would not be here
        raise unavailable("the server is shutting down", "shutting_down")
    if finish_reason == "error":
        raise failed()


class Format(Protocol):
    """How one of the two APIs writes choices. `whole` and `piece` are objects of their own."""

    kind: str
    """`object` of a whole answer."""
    chunk_kind: str
    """`object` of a piece."""
    prefix: str
    """How ids of answers begin."""

    async def prepare(self) -> None:
        """Works out what must be known before the first piece."""
        ...

    def whole(self, index: int, choice: Choice) -> dict[str, Any]:
        """A finished choice."""
        ...

    def opening(self, index: int) -> dict[str, Any] | None:
        """The first piece of a choice, before any token."""
        ...

    def piece(self, index: int, text: str, events: Sequence[Event]) -> dict[str, Any] | None:
        """More of a choice; None where there is nothing to tell."""
        ...

    def closing(self, index: int, finish_reason: str) -> dict[str, Any]:
        """The last piece of a choice."""
        ...


@dataclass
class Job:
    """A request that has been understood.

    Attributes:
      name: of the model, as asked for.
      count: choices, which are those of `asked`; where nothing is to be generated it is empty.
      stream, include_usage: as asked for.
      prompt_tokens: of all prompts together.
    """

    name: str
    loaded: Loaded
    asked: Sequence[Asked]
    count: int
    format: Format
    stream: bool
    include_usage: bool
    prompt_tokens: int
    created: int = field(default_factory=lambda: int(time.time()))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def whole(self, choices: Sequence[Choice]) -> dict[str, Any]:
        """The answer in one object."""
        written = [self.format.whole(index, choice) for index, choice in enumerate(choices)]
        usage = self.usage(sum(choice.tokens for choice in choices))
        return {**self._head(self.format.kind), "choices": written, "usage": usage}

    def chunk(self, piece: dict[str, Any]) -> dict[str, Any]:
        """A piece of one choice as an object of the stream."""
        usage = {"usage": None} if self.include_usage else {}
        return {**self._head(self.format.chunk_kind), "choices": [piece], **usage}

    def last_chunk(self, made: int) -> dict[str, Any]:
        """The counts of tokens, as the last object of the stream."""
        head = self._head(self.format.chunk_kind)
        return {**head, "choices": [], "usage": self.usage(made)}

    def usage(self, made: int) -> dict[str, int]:
        """Counts of tokens; `made` are those of all choices."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": made,
            "total_tokens": self.prompt_tokens + made,
        }

    def _head(self, kind: str) -> dict[str, Any]:
        identity = f"{self.format.prefix}-{self.id}"
        return {"id": identity, "object": kind, "created": self.created, "model": self.name}
