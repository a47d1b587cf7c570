"""Engines of one model in threads of their own, behind one queue, for callers that come and go at
any time, such as a server's.

    submit --> waiting --- the least loaded engine with a free slot ---> engine's thread --> events

Whatever touches an engine runs in its thread, between two steps; other threads queue calls for it.
"""

import threading
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from vcjax.generate.engine import Engine, EngineStats
from vcjax.generate.requests import Event, Request, SamplingParams
from vcjax.generate.scheduler import RequestState


class Busy(Exception):
    """The queue is full; try again later."""


class Closed(Exception):
    """The service accepts no more requests."""


class Engines(Protocol):
    """An `Engine`, or a `Fleet` of them."""

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Of one model and of equal settings, so that a request may go to any of them."""
        ...


class _Worker:
    """An engine, and what waits for its thread."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.calls: deque[Callable[[], None]] = deque()
        self.shared: deque[Callable[[Engine, bool], bool]] = deque()
        self.open = 0  # requests that the engine has
        self.warm: Future[None] = Future()


class Service:
    """Accepts requests from any thread. A context manager: leaving it closes the service."""

    def __init__(
        self,
        engine: Engines,
        *,
        max_waiting: int = 256,
        prepare: Callable[[Engine], None] | None = None,
    ) -> None:
        """Starts a thread for each engine, which first compiles the programs of a short request.

        Args:
          max_waiting: most requests beyond those in slots.
          prepare: called in each engine's thread before it is ready, such as to compile more.
        """
        self._workers = [_Worker(each) for each in engine.engines]
        self.slots = sum(each.slots for each in engine.engines)
        self.max_waiting, self._prepare = max_waiting, prepare
        # `_changed` guards what every thread may touch: what follows, and the workers' attributes.
        self._changed = threading.Condition()
        self._waiting: deque[RequestState] = deque()
        self._open: dict[RequestState, _Worker | None] = {}  # None: it waits
        self._closing, self._errors = False, 0
        self._threads = [
            threading.Thread(target=self._run, args=(worker,), name="engine", daemon=True)
            for worker in self._workers
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self.close(drain=False)

    @property
    def engine(self) -> Engine:
        """The first engine, which has the settings of all."""
        return self._workers[0].engine

    @property
    def ready(self) -> bool:
        """Whether the engines are prepared."""
        warm = [worker.warm for worker in self._workers]
        return all(each.done() and each.exception() is None for each in warm)

    def wait_ready(self) -> None:
        """Waits until the engines are prepared, and raises what that raised."""
        for worker in self._workers:
            worker.warm.result()

    @property
    def is_idle(self) -> bool:
        """Whether no request is open."""
        return not self._open

    @property
    def errors(self) -> int:
        """Number of errors that ended one request, or all of them where the cache was lost."""
        return self._errors

    def stats(self) -> EngineStats:
        """The engines' counts together, up to a step old."""
        engines = [worker.engine.stats() for worker in self._workers]
        return EngineStats.total(engines, waiting=len(self._waiting))

    def submit(
        self, request: Request, on_event: Callable[[Event], None], index: int = 0
    ) -> RequestState:
        """Queues a request; `on_event` is called in an engine's thread, so it must be short.

        If it raises, the request ends with the finish reason `error`.

        Args:
          index: of the request's events.

        Raises:
          UserError: it doesn't fit the model.
          Busy: the queue is full.
          Closed: the service is closing.
        """
        self.engine.check(request)
        state = RequestState(index, request, on_event)
        with self._changed:
            if self._closing:
                raise Closed("the server is shutting down")
            # Open requests beyond the slots are those that wait.
            if len(self._open) >= self.slots + self.max_waiting:
                raise Busy(f"{self.max_waiting} requests are waiting; try again later")
            state.on_event = lambda event: self._report(state, on_event, event)
            self._open[state] = None
            self._waiting.append(state)
            self._dispatch()
        return state

    def cancel(self, state: RequestState) -> None:
        """Ends a request and frees its slot; does nothing after its end."""
        with self._changed:
            self._cancel(state)

    def share(self, work: Callable[[Engine, bool], bool]) -> None:
        """Has long work done in pieces, such as the scoring of texts, by all engines: each does one
        between two of its steps, so that the idle ones do most.

        Args:
          work: does a piece with an engine, in whose thread it is called, beside the threads of the
            others; returns whether there may be another one; it must not raise. It is told whether
            it is alone, as the engine has no request: otherwise the piece must be short.

        Raises:
          Closed: the service is closing.
        """
        with self._changed:
            if self._closing:
                raise Closed("the server is shutting down")
            for worker in self._workers:
                worker.shared.append(work)
            self._changed.notify_all()

    def close(self, *, drain: bool) -> None:
        """Accepts no more requests and ends the threads.

        Args:
          drain: finish the open requests first; otherwise they are cancelled.
        """
        with self._changed:
            # What is queued already still runs: a request is never lost without its last event.
            self._closing = True
            if not drain:
                for state in list(self._open):
                    self._cancel(state)
            self._changed.notify_all()
        # One of the threads can't wait for itself: the garbage collector, which closes what nobody
        # has any more, comes by in any thread.
        if threading.current_thread() not in self._threads:
            for thread in self._threads:
                thread.join()

    # What follows, up to `_report`, is called by who has `_changed`.

    def _dispatch(self) -> None:
        """Gives waiting requests to engines with free slots, each to the least loaded."""
        while self._waiting:
            worker = min(self._workers, key=lambda worker: worker.open)
            if worker.open >= worker.engine.slots:
                return
            state = self._waiting.popleft()
            self._open[state] = worker
            worker.open += 1
            self._call(worker, lambda state=state, to=worker: to.engine.scheduler.enqueue(state))

    def _cancel(self, state: RequestState) -> None:
        worker = self._open.get(state)
        if worker is None and state in self._waiting:
            self._waiting.remove(state)
            worker = self._workers[0]  # where its last event is reported
        if worker is not None:
            self._call(worker, lambda: worker.engine.scheduler.cancel(state))

    def _call(self, worker: _Worker, function: Callable[[], None]) -> None:
        worker.calls.append(function)
        self._changed.notify_all()

    def _report(self, state: RequestState, on_event: Callable[[Event], None], event: Event) -> None:
        worker = self._open[state]
        if event.finish_reason is not None:
            with self._changed:
                del self._open[state]
                if worker is not None:
                    worker.open -= 1
                self._dispatch()
            # The callback has the state, and the state the callback: apart, both are freed at once,
            # and not when the garbage collector comes by.
            state.on_event = _nothing
        if event.cause is not None:
            self._count(event.cause)
        try:
            on_event(event)
        except BaseException as error:  # one caller's, which must not affect the others
            if state.finished or worker is None:
                self._count(error)
            else:
                worker.engine.scheduler.fail(state, error)

    def _count(self, error: BaseException) -> None:
        traceback.print_exception(error)
        self._errors += 1

    def _run(self, worker: _Worker) -> None:
        try:
            # Two tokens, since the last one of a request is drawn but not run.
            worker.engine.generate([Request((0,), SamplingParams(2))])
            if self._prepare is not None:
                self._prepare(worker.engine)
        except BaseException as error:
            worker.warm.set_exception(error)
            return
        worker.warm.set_result(None)
        more = False
        while True:
            with self._changed:
                while not (worker.calls or worker.shared or more or self._closing):
                    self._changed.wait()
                calls = list(worker.calls)
                worker.calls.clear()
                work = worker.shared.popleft() if worker.shared else None
            # Without the lock: they may take seconds, and others submit meanwhile.
            for call in calls:
                call()
            if work is not None and work(worker.engine, worker.engine.is_idle):
                with self._changed:
                    worker.shared.append(work)
            more = self._step(worker.engine)
            with self._changed:
                # Nothing waits for a slot here: it would have been given to this engine.
                if self._closing and not (more or worker.calls or worker.shared):
                    return

    def _step(self, engine: Engine) -> bool:
        try:
            return engine.step()
        except BaseException as error:  # e.g. out of memory: all open requests end
            self._count(error)
            engine.release()
            return False


def _nothing(_: Event) -> None:
    """What is called with the events of a request that has ended: there are none."""
