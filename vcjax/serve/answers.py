"""Continuations on their way from the engine's thread to the event loop."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from vcjax.generate.detokenizer import Detokenizer
from vcjax.generate.requests import Event, Request
from vcjax.generate.scheduler import RequestState
from vcjax.generate.service import Service


@dataclass(frozen=True)
class Asked:
    """A request and the text of what comes of it.

    Attributes:
      decoder: the request's watch. It belongs to the engine's thread once the request is submitted.
    """

    request: Request
    decoder: Detokenizer


class News(NamedTuple):
    """One token, or the end, of one continuation, and the text that is sure since the last."""

    index: int
    event: Event
    text: str


class Answers:
    """The continuations of several requests, as they come.

    A context manager: leaving it cancels those that are still under way, which frees their slots.
    What a slow reader hasn't taken yet waits here, at most `max_tokens` of each request.
    """

    def __init__(self, service: Service, asked: Sequence[Asked]) -> None:
        self._service, self._asked = service, asked
        self._tickets: list[RequestState] = []
        self._news: deque[News] = deque()
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._left = False

    def __enter__(self) -> "Answers":
        """Submits all requests or none.

        Raises:
          UserError: one doesn't fit the model.
          Busy: they don't fit in the queue.
          Closed: the service is closing.
        """
        try:
            for index, asked in enumerate(self._asked):
                tell = partial(self._tell, index, asked.decoder)
                self._tickets.append(self._service.submit(asked.request, tell))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._left = True
        for ticket in self._tickets:
            if not ticket.finished:
                self._service.cancel(ticket)

    async def __aiter__(self) -> AsyncIterator[list[News]]:
        """Yields what is new until all have ended."""
        open_count = len(self._asked)
        while open_count:
            await self._changed.wait()
            self._changed.clear()
            news = [self._news.popleft() for _ in range(len(self._news))]
            open_count -= sum(each.event.finish_reason is not None for each in news)
            yield news

    def _tell(self, index: int, decoder: Detokenizer, event: Event) -> None:
        """In the engine's thread, right after the decoder has seen the token."""
        if self._left:
            return
        if event.finish_reason is None:
            text = decoder.take()
        else:
            # A request that failed is told no more text; the decoder may be what failed.
            text = "" if event.finish_reason == "error" else decoder.finish()
        self._news.append(News(index, event, text))
        self._loop.call_soon_threadsafe(self._changed.set)
