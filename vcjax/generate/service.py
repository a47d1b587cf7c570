"""An engine in its own thread, for callers that come and go at any time, such as a server's.

Whatever touches the engine runs in that thread, between two steps; other threads queue
calls for it.
"""

import threading
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from vcjax.generate.engine import Engine, EngineStats
from vcjax.generate.requests import Event, Request, SamplingParams
from vcjax.generate.scheduler import RequestState


class Busy(Exception):
    """The queue is full; try again later."""


class Closed(Exception):
    """The service accepts no more requests."""


class Service:
    """Accepts requests from any thread. A context manager: leaving it closes the service."""

    def __init__(self, engine: Engine, *, max_waiting: int = 256) -> None:
        """Starts the thread, which first compiles the programs of a short request."""
        self.engine, self.max_waiting = engine, max_waiting
        # `_changed` guards what every thread may touch: `_calls`, `_shared`, `_open`, `_closing`.
        self._calls: deque[Callable[[], None]] = deque()
        self._shared: deque[Callable[[bool], bool]] = deque()
        self._changed = threading.Condition()
        self._open: set[RequestState] = set()
        self._closing, self._errors = False, 0
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
    def errors(self) -> int:
        """Number of errors that ended one request, or all of them where the cache was lost."""
        return self._errors

    def stats(self) -> EngineStats:
        """The engine's counts, up to a step old."""
        return self.engine.stats()

    def submit(self, request: Request, on_event: Callable[[Event], None]) -> RequestState:
        """Queues a request; `on_event` is called in the engine's thread, so it must be short.

        If it raises, the request ends with the finish reason `error`.

        Raises:
          UserError: it doesn't fit the model.
          Busy: the queue is full.
          Closed: the service is closing.
        """
        request.check(self.engine.config)
        state = RequestState(0, request, on_event)
        with self._changed:
            if self._closing:
                raise Closed("the server is shutting down")
            # Open requests beyond the slots are those that wait.
            if len(self._open) >= self.engine.slots + self.max_waiting:
                raise Busy(f"{self.max_waiting} requests are waiting; try again later")
            state.on_event = lambda event: self._report(state, on_event, event)
            self._open.add(state)
            self._call(lambda: self.engine.scheduler.enqueue(state))
        return state

    def cancel(self, state: RequestState) -> None:
        """Ends a request and frees its slot; does nothing after its end."""
        with self._changed:
            self._call(lambda: self.engine.scheduler.cancel(state))

    def share(self, work: Callable[[bool], bool]) -> None:
        """Has long work done in pieces, such as the scoring of texts, one piece between two steps.

        Args:
          work: does a piece and returns whether there is another one; it must not raise. It is told
            whether it is alone, as no request is open: otherwise the piece must be short.

        Raises:
          Closed: the service is closing.
        """
        with self._changed:
            if self._closing:
                raise Closed("the server is shutting down")
            self._shared.append(work)
            self._changed.notify()

    def close(self, *, drain: bool) -> None:
        """Accepts no more requests and ends the thread.

        Args:
          drain: finish the open requests first; otherwise they are cancelled.
        """
        with self._changed:
            # What is queued already still runs: a request is never lost without its last event.
            self._closing = True
            if not drain:
                for state in self._open:
                    self._call(lambda state=state: self.engine.scheduler.cancel(state))
            self._changed.notify()
        self._thread.join()

    def _call(self, function: Callable[[], None]) -> None:
        """Queues a call for the engine's thread. The caller has `_changed`."""
        self._calls.append(function)
        self._changed.notify()

    def _report(self, state: RequestState, on_event: Callable[[Event], None], event: Event) -> None:
        if event.finish_reason is not None:
            with self._changed:
                self._open.discard(state)
            # The callback has the state, and the state the callback: apart, both are freed at once,
            # and not when the garbage collector comes by.
            state.on_event = _nothing
        if event.cause is not None:
            self._count(event.cause)
        try:
            on_event(event)
        except BaseException as error:  # one caller's, which must not affect the others
            if state.finished:
                self._count(error)
            else:
                self.engine.scheduler.fail(state, error)

    def _count(self, error: BaseException) -> None:
        traceback.print_exception(error)
        self._errors += 1

    def _run(self) -> None:
        try:
            # Two tokens, since the last one of a request is drawn but not run.
            self.engine.generate([Request((0,), SamplingParams(2))])
        except BaseException as error:
            self._warm.set_exception(error)
            return
        self._warm.set_result(None)
        more = False
        while True:
            with self._changed:
                while not (self._calls or self._shared or more or self._closing):
                    self._changed.wait()
                calls = list(self._calls)
                self._calls.clear()
                work = self._shared.popleft() if self._shared else None
            # Without the lock: they may take seconds, and others submit meanwhile.
            for call in calls:
                call()
            if work is not None and work(self.engine.is_idle):
                with self._changed:
                    self._shared.append(work)
            more = self._step()
            with self._changed:
                if self._closing and not (more or self._calls or self._shared):
                    return

    def _step(self) -> bool:
        try:
            return self.engine.step()
        except BaseException as error:  # e.g. out of memory: all open requests end
            self._count(error)
            self.engine.release()
            return False


def _nothing(_: Event) -> None:
    """What is called with the events of a request that has ended: there are none."""
