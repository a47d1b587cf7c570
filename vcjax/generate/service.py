"""An engine in a thread of its own, for callers that come and go at any time, such as a server's.

Whatever touches the engine runs in that thread, between two steps; callers hand it over.
"""

import threading
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from vcjax.generate.engine import Engine, EngineStats
from vcjax.generate.requests import Event, Request
from vcjax.generate.slots import Ticket

Answer = TypeVar("Answer")


class Busy(Exception):
    """As many requests wait as may; try again later."""


class Closed(Exception):
    """The service takes no more requests."""


class Service:
    """Takes requests from any thread. A context manager: leaving it closes the service."""

    def __init__(self, engine: Engine, *, max_waiting: int = 256) -> None:
        """Starts the thread, which first compiles what a short request needs."""
        self.engine, self.max_waiting = engine, max_waiting
        self._asked: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._open: set[Ticket] = set()
        self._closing, self._faults = False, 0
        self._warm: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self.close(drain=False)

    @property
    def ready(self) -> bool:
        """Whether the first compilation is done."""
        return self._warm.done() and self._warm.exception() is None

    def wait_ready(self) -> None:
        """Waits for the first compilation, and raises what it raised."""
        self._warm.result()

    @property
    def faults(self) -> int:
        """Errors that ended one request, or, where all rows were lost, those under way."""
        return self._faults

    def stats(self) -> EngineStats:
        """Counts so far; a moment old at most."""
        return self.engine.stats()

    def submit(self, request: Request, on_event: Callable[[Event], None]) -> Ticket:
        """Queues a request; `on_event` is called in the engine's thread, so it must be short.

        If it raises, the request ends with the finish reason `error`.

        Raises:
          UserError: it doesn't fit the model.
          Busy: as many wait as may.
          Closed: the service is closing.
        """
        self.engine.check(request)
        ticket = Ticket(0, request, on_event)
        with self._changed:
            if self._closing:
                raise Closed("the server is shutting down")
            # Open requests beyond the slots are those that wait.
            if len(self._open) >= self.engine.slots + self.max_waiting:
                raise Busy(f"{self.max_waiting} requests are waiting; try again later")
            ticket.on_event = lambda event: self._tell(ticket, on_event, event)
            self._open.add(ticket)
            self._ask(lambda: self.engine.enqueue(ticket))
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Ends a request and frees its slot; nothing happens where it has ended."""
        with self._changed:
            self._ask(lambda: self.engine.cancel(ticket))

    def run(self, function: Callable[[], Answer]) -> "Future[Answer]":
        """Runs a function between two steps, e.g. one that scores texts with the parameters.

        Raises:
          Closed: the service is closing.
        """
        future: Future[Answer] = Future()

        def answer() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:
                    future.set_exception(error)

        with self._changed:
            if self._closing:
                raise Closed("the server is shutting down")
            self._ask(answer)
        return future

    def close(self, *, drain: bool) -> None:
        """Takes no more requests and ends the thread.

        Args:
          drain: finish what is under way first; otherwise it is cancelled.
        """
        with self._changed:
            self._closing = True
            if not drain:
                for ticket in self._open:
                    self._ask(lambda ticket=ticket: self.engine.cancel(ticket))
            self._changed.notify()
        self._thread.join()

    def _ask(self, what: Callable[[], None]) -> None:
        self._asked.append(what)
        self._changed.notify()

    def _tell(self, ticket: Ticket, on_event: Callable[[Event], None], event: Event) -> None:
        if event.finish_reason is not None:
            with self._changed:
                self._open.discard(ticket)
        if event.cause is not None:
            self._count(event.cause)
        try:
            on_event(event)
        except BaseException as error:  # one caller's, which the others mustn't notice
            if ticket.ended:
                self._count(error)
            else:
                self.engine.fail(ticket, error)

    def _count(self, error: BaseException) -> None:
        traceback.print_exception(error)
        self._faults += 1

    def _run(self) -> None:
        try:
            self.engine.generate([Request((0,), 2)])
        except BaseException as error:
            self._warm.set_exception(error)
            return
        self._warm.set_result(None)
        more = False
        while True:
            with self._changed:
                while not (self._asked or more or self._closing):
                    self._changed.wait()
                asked = list(self._asked)
                self._asked.clear()
            for what in asked:
                what()
            more = self._step()
            with self._changed:
                if self._closing and not (more or self._asked):
                    return

    def _step(self) -> bool:
        try:
            return self.engine.step()
        except BaseException as error:  # e.g. out of memory: all under way end, the next are served
            self._count(error)
            self.engine.release()
            return False
