"""Engines of one model, each on devices of its own, behind one queue: data parallel generation.

A request's tokens don't depend on what else its engine runs, nor on which engine it is: the last
bits of the logits may, where requests share prefixes, as each engine has a pool of its own.
"""

import sys
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

from vcjax.generate.engine import Engine, EngineStats
from vcjax.generate.generator import Generator
from vcjax.generate.requests import Event, Request
from vcjax.generate.scheduler import RequestState
from vcjax.generate.service import Service
from vcjax.model.build import Params


class Fleet(Generator):
    """Several engines, called as one; see `Engine`. For one thread: the engines have their own."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        """`engines` are of one model and of equal settings, each on other devices."""
        first = engines[0]
        self.engines = tuple(engines)
        self.config, self.context = first.config, first.context
        self.dtype, self.weights = first.dtype, first.weights
        self.slots = sum(engine.slots for engine in engines)
        self._service: Service | None = None
        self._end: Callable[[], object] = lambda: None
        # By the caller's state of a request, which `step` reports to, that of the service.
        self._asked: dict[RequestState, RequestState] = {}
        self._emitted: SimpleQueue[tuple[RequestState, Event]] = SimpleQueue()
        self._undelivered: deque[tuple[RequestState, Event]] = deque()

    @property
    def graph(self) -> Any:
        """The static graph of the model that runs `params`."""
        return self.engines[0].graph

    @property
    def params(self) -> Params:
        """The first engine's parameters, such as for scoring texts."""
        return self.engines[0].params

    @property
    def is_idle(self) -> bool:
        """Whether no request waits or runs."""
        return not self._asked

    @property
    def planned_bytes(self) -> int:
        """Bytes beside the parameters on all devices, with the longest sequence in every slot."""
        return sum(engine.planned_bytes for engine in self.engines)

    def check(self, request: Request) -> None:
        """Raises a UserError if the request doesn't fit the model or the context."""
        self.engines[0].check(request)

    def stats(self) -> EngineStats:
        """Load and counts of all engines."""
        if self._service is not None:
            return self._service.stats()
        return EngineStats.total([engine.stats() for engine in self.engines])

    def release(self) -> None:
        """Ends the engines' threads, and frees the devices' memory beside the parameters."""
        self._end()
        self._service = None
        self._asked.clear()
        self._undelivered.clear()
        self._emitted = SimpleQueue()
        for engine in self.engines:
            engine.release()

    def enqueue(self, state: RequestState) -> None:
        """Lets a request wait for a slot of any engine; `step` then calls its `on_event`."""
        if self._service is None:
            self._service = Service(self, max_waiting=sys.maxsize)
            # Its threads have the engines: they end with the fleet, so that whoever forgets a model
            # needn't release it.
            end = self._end = weakref.finalize(self, self._service.close, drain=False)
            end.atexit = False
            self._service.wait_ready()
        emitted = self._emitted
        self._asked[state] = self._service.submit(
            state.request, lambda event: emitted.put((state, event)), state.index
        )

    def cancel(self, state: RequestState) -> None:
        """Ends a request, whether it waits or runs; does nothing after its end."""
        if state.finished or self._service is None:
            return
        self._service.cancel(self._asked[state])
        ended = False
        others: deque[tuple[RequestState, Event]] = deque()
        while not ended:  # until its engine has let go of it
            of, event = self._undelivered.popleft() if self._undelivered else self._emitted.get()
            if of is state:
                ended = event.finish_reason is not None
            else:
                others.append((of, event))
        self._undelivered.extendleft(reversed(others))
        self._deliver(state, Event(state.index, None, 0.0, "cancelled"))

    def step(self) -> bool:
        """Waits until the engines have made a token, and reports what they have made.

        Returns:
          Whether there is more to do.
        """
        if self._asked and not self._undelivered:
            self._undelivered.append(self._emitted.get())
        while not self._emitted.empty():
            self._undelivered.append(self._emitted.get())
        while self._undelivered:
            self._deliver(*self._undelivered.popleft())
        return bool(self._asked)

    def _deliver(self, state: RequestState, event: Event) -> None:
        if event.finish_reason is not None:
            state.finished = True
            del self._asked[state]
        state.on_event(event)
