"""Which request runs in which slot."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain

from vcjax.generate.requests import Alternatives, ConstraintError, Event, Request, Scored
from vcjax.generate.slot_state import SlotState
from vcjax.generate.slots import SlotTable, Upload


@dataclass(eq=False)
class RequestState:
    """A request in the engine, from its submission to its end.

    Attributes:
      index: of the events.
      on_event: called with the event of each token and of the end.
      slot: None while it waits and after its end.
      prefilled: number of tokens of the prompt that are in the cache; `pooled` of them came from
        the pool of prefixes.
      scored: the scores of the prompt's chunks so far, if the request asks for them.
      generated: number of tokens of the continuation so far.
    """

    index: int
    request: Request
    on_event: Callable[[Event], None]
    slot: int | None = None
    prefilled: int = 0
    pooled: int = 0
    scored: list[Scored] = field(default_factory=list)
    generated: int = 0
    finished: bool = False

    @property
    def is_decoding(self) -> bool:
        """Whether the whole prompt is in the cache."""
        return self.slot is not None and self.prefilled == len(self.request.prompt)

    @property
    def next_length(self) -> int:
        """Number of tokens that its slot must have room for in the next step."""
        return len(self.request.prompt) + self.generated + 1

    def advance(self, token: int, logprob: float, top: Alternatives) -> Event:
        """Appends a drawn token and returns its event, with the finish reason if it is the end."""
        request, sampling = self.request, self.request.sampling
        prompt = None if self.generated else self.prompt_scores()
        if token in request.eos_ids:
            return Event(self.index, None, logprob, "stop", top, eos=token, prompt=prompt)
        self.generated += 1
        reason = None
        try:
            if request.constraint is not None and request.constraint.accept(token):
                reason = "stop"
        except ConstraintError:
            reason = "error"
        # It receives every token, early ones too: a stop string may begin before `min_tokens`.
        if request.stopping is not None and request.stopping.accept(token):
            reason = "stop" if self.generated >= sampling.min_tokens else reason
        if reason is None and self.generated == sampling.max_tokens:
            reason = "length"
        is_stuck = reason == "error"
        return Event(self.index, token, logprob, reason, top, is_stuck=is_stuck, prompt=prompt)

    def prompt_scores(self) -> Scored | None:
        """The scores of the whole prompt, if the request asks for them."""
        if self.request.prompt_top is None:
            return None
        chunks, self.scored = self.scored, []
        names = ("logprobs", "greedy", "ranks", "top")
        return Scored(*(tuple(chain(*(getattr(each, n) for each in chunks))) for n in names))


class Scheduler:
    """Requests that wait, first come first served, and requests that run, each in its own slot."""

    def __init__(self, slots: int, vocab_size: int, upload: Upload, cache: SlotState) -> None:
        self.slots, self._cache = slots, cache
        self.table = SlotTable(slots, vocab_size, upload)
        self.waiting: deque[RequestState] = deque()
        self.running: dict[int, RequestState] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no request waits or runs."""
        return not (self.waiting or self.running)

    def decoding(self) -> list[RequestState]:
        """The requests that are past their prefill."""
        # Copied first, as another thread may ask while a step admits or ends requests.
        return [state for state in tuple(self.running.values()) if state.is_decoding]

    def enqueue(self, state: RequestState) -> None:
        """Lets a request wait, unless it was cancelled before."""
        if not state.finished:
            self.waiting.append(state)

    def admit(self) -> None:
        """Gives free slots to waiting requests, as long as the cache has room for the first."""
        for slot in range(self.slots):
            if self.waiting and slot not in self.running:
                # First come, first served: a short request that would fit waits behind a long one,
                # which would else wait for ever.
                if not self._cache.reserve(slot, self.waiting[0].request):
                    return
                state = self.waiting.popleft()
                state.slot, self.running[slot] = slot, state

    def finish(self, state: RequestState, event: Event) -> None:
        """Frees the request's slot and reports its last event."""
        if state.slot is not None:
            del self.running[state.slot]
            self.table.clear(state.slot)
            self._cache.free(state.slot)
        state.slot, state.finished = None, True
        state.on_event(event)

    def cancel(self, state: RequestState) -> None:
        """Ends a request, whether it waits or runs; does nothing after its end."""
        if not state.finished:
            if state.slot is None and state in self.waiting:
                self.waiting.remove(state)
            self.finish(state, Event(state.index, None, 0.0, "cancelled"))

    def fail(
        self, state: RequestState, cause: BaseException | None = None, *, is_stuck: bool = False
    ) -> None:
        """Ends a request with the finish reason `error`; does nothing after its end."""
        if not state.finished:
            event = Event(state.index, None, 0.0, "error", cause=cause, is_stuck=is_stuck)
            self.finish(state, event)

    @contextmanager
    def on_behalf(self, state: RequestState) -> Iterator[None]:
        """Turns an exception into the end of one request, unless it cost the others their cache."""
        try:
            yield
        except ConstraintError:
            self.fail(state, is_stuck=True)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic in a library written in Rust is no Exception
            if not self._cache.is_intact:
                raise
            self.fail(state, error)

    def fail_all(self) -> None:
        """Ends every request with the finish reason `error`."""
        for state in [*self.running.values(), *self.waiting]:
            self.fail(state)
        self.waiting.clear()
