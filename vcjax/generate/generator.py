"""What generates: callers give it requests, and get their tokens as they are made."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from vcjax.generate.requests import Event, Request, Result
from vcjax.generate.scheduler import RequestState


class Generator(ABC):
    """One engine, or several behind one queue, for one thread."""

    @abstractmethod
    def check(self, request: Request) -> None:
        """Raises a UserError if the request doesn't fit the model or the context."""

    @abstractmethod
    def enqueue(self, state: RequestState) -> None:
        """Lets a request wait for a slot; `step` then calls its `on_event`."""

    @abstractmethod
    def cancel(self, state: RequestState) -> None:
        """Ends a request, whether it waits or runs; does nothing after its end."""

    @abstractmethod
    def step(self) -> bool:
        """Makes tokens, and reports them. Returns whether there is more to do."""

    def generate(
        self,
        requests: Sequence[Request],
        on_result: Callable[[int, Result], None] | None = None,
    ) -> list[Result]:
        """Continues all requests and returns their results in the same order; `on_result` gets each
        as it finishes."""
        return Result.all(self.events(requests), len(requests), on_result)

    def events(self, requests: Sequence[Request]) -> Iterator[Event]:
        """Yields the tokens of all requests as they are made, interleaved.

        Requests that are open when the caller closes the iterator are cancelled. An exception on
        behalf of one request is raised here, as they have one caller.

        Raises:
          UserError: a request that doesn't fit the model.
        """
        for request in requests:
            self.check(request)
        events: deque[Event] = deque()
        states = [RequestState(n, request, events.append) for n, request in enumerate(requests)]
        for state in states:
            self.enqueue(state)
        try:
            while not all(state.finished for state in states):
                self.step()
                while events:
                    event = events.popleft()
                    if event.cause is not None:
                        raise event.cause
                    yield event
        finally:
            for state in states:
                self.cancel(state)

    def stream(self, request: Request) -> Iterator[Event]:
        """Yields one request's tokens as they are made."""
        return self.events([request])
