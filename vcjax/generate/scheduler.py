"""Which request runs in which slot, and the sampling settings of all slots for the devices."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from vcjax.generate.requests import (
    MAX_BIASES,
    Alternatives,
    ConstraintError,
    Event,
    Request,
    Scored,
)
from vcjax.generate.sampling import SamplingBatch

_ALL_ALLOWED = 0xFFFFFFFF
"""A word of a mask that allows each of its 32 tokens."""
NO_POSITION = 1 << 30
"""The position of a slot that isn't decoding: beyond every cache, where nothing is written."""
_FREE_SLOT = {
    "temperature": (np.float32, 0.0),
    "top_k": (np.int32, 0),
    "top_p": (np.float32, 1.0),
    "min_p": (np.float32, 0.0),
    "repetition_penalty": (np.float32, 1.0),
    "presence_penalty": (np.float32, 0.0),
    "frequency_penalty": (np.float32, 0.0),
}
"""Sampling parameters that the devices need for each slot, with a free slot's values: greedy."""


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

    def __init__(self, slots: int, vocab_size: int) -> None:
        self.slots = slots
        self.table = SlotTable(slots, vocab_size)
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
        """Gives free slots to waiting requests."""
        for slot in range(self.slots):
            if self.waiting and slot not in self.running:
                state = self.waiting.popleft()
                state.slot, self.running[slot] = slot, state

    def finish(self, state: RequestState, event: Event) -> None:
        """Frees the request's slot and reports its last event."""
        if state.slot is not None:
            del self.running[state.slot]
            self.table.clear(state.slot)
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

    def fail_all(self) -> None:
        """Ends every request with the finish reason `error`."""
        for state in [*self.running.values(), *self.waiting]:
            self.fail(state)
        self.waiting.clear()


class SlotTable:
    """Sampling settings of all slots, as arrays on the host."""

    def __init__(self, slots: int, vocab_size: int) -> None:
        self._vocab_size = vocab_size
        self._values = {
            name: np.full((slots,), value, dtype) for name, (dtype, value) in _FREE_SLOT.items()
        }
        self._seeds = np.zeros((slots,), np.uint32)
        self._steps = np.zeros((slots,), np.int32)
        # The vocabulary's size as an id means no bias. Every slot has as many entries as a request
        # may have: another number would be another shape, and another program.
        self._bias_ids = np.full((slots, MAX_BIASES), vocab_size, np.int32)
        self._bias_values = np.zeros((slots, MAX_BIASES), np.float32)
        self._mask = np.full((slots, (vocab_size + 31) // 32), _ALL_ALLOWED, np.uint32)
        self._is_masked = np.zeros((slots,), np.bool_)
        self.positions = np.full((slots,), NO_POSITION, np.int32)
        self.top_logprobs = np.zeros((slots,), np.int32)

    def start(self, slot: int, request: Request) -> None:
        """Enters a request whose prompt is in the cache.

        Raises:
          ConstraintError: its constraint allows no token.
        """
        sampling = request.sampling
        for name, values in self._values.items():
            values[slot] = getattr(sampling, name)
        self._seeds[slot], self._steps[slot] = sampling.seed, 0
        self.positions[slot] = len(request.prompt)
        self.top_logprobs[slot] = sampling.top_logprobs
        count = len(sampling.logit_bias)
        self._bias_ids[slot, :count] = list(sampling.logit_bias)
        self._bias_values[slot, :count] = list(sampling.logit_bias.values())
        self._set_mask(slot, request, generated=0)

    def advance(self, slot: int, request: Request, generated: int) -> None:
        """Prepares the next step of a request that has `generated` tokens.

        Raises:
          ConstraintError: its constraint can't be continued.
        """
        self._steps[slot] += 1
        self.positions[slot] += 1
        self._set_mask(slot, request, generated)

    def clear(self, slot: int) -> None:
        """Frees a slot: it draws greedily, from all tokens, and writes nothing into the cache."""
        for name, (_, value) in _FREE_SLOT.items():
            self._values[name][slot] = value
        self.positions[slot], self.top_logprobs[slot] = NO_POSITION, 0
        self._bias_ids[slot], self._bias_values[slot] = self._vocab_size, 0.0
        self._mask[slot], self._is_masked[slot] = _ALL_ALLOWED, False

    def batch(self) -> SamplingBatch:
        """A copy, which the devices may read while the table changes."""
        values = self._values
        is_truncated = (values["top_k"] > 0) | (values["top_p"] < 1) | (values["min_p"] > 0)
        is_penalised = (
            (values["repetition_penalty"] != 1)
            | (values["presence_penalty"] != 0)
            | (values["frequency_penalty"] != 0)
        )
        arrays: dict[str, Any] = {
            **values,
            "seeds": self._seeds,
            "steps": self._steps,
            "bias_ids": self._bias_ids,
            "bias_values": self._bias_values,
            "mask": self._mask,
        }
        flags: dict[str, Any] = {
            "any_penalised": is_penalised.any(),
            "any_biased": (self._bias_ids < self._vocab_size).any(),
            "any_masked": self._is_masked.any(),
            "any_truncated": is_truncated.any(),
            "any_drawn": (values["temperature"] > 0).any(),
        }
        return SamplingBatch(**{name: array.copy() for name, array in arrays.items()}, **flags)

    def _set_mask(self, slot: int, request: Request, generated: int) -> None:
        """Sets which tokens may come next: those of the constraint, and EOS only once it may."""
        is_early = generated < request.sampling.min_tokens and bool(request.eos_ids)
        if request.constraint is None and not is_early:
            if self._is_masked[slot]:
                self._mask[slot], self._is_masked[slot] = _ALL_ALLOWED, False
            return
        self._is_masked[slot] = True
        constraint = request.constraint
        self._mask[slot] = _ALL_ALLOWED if constraint is None else constraint.mask()
        if is_early:
            self._remove_from_mask(slot, request.eos_ids)

    def _remove_from_mask(self, slot: int, eos_ids: tuple[int, ...]) -> None:
        """Forbids the EOS ids, unless nothing else may come: a satisfied constraint must end."""
        before = self._mask[slot].copy()
        for token in eos_ids:
            if token < self._vocab_size:
                self._mask[slot, token >> 5] &= np.uint32(_ALL_ALLOWED ^ (1 << (token & 31)))
        if not self._mask[slot].any():
            self._mask[slot] = before
