"""The host's side of the slots: who sits in each, and the settings that the device needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vcjax.generate.requests import MOST_BIASES, ConstraintFault, Event, Request
from vcjax.generate.sampling import Settings

_FREE = 0xFFFFFFFF
"""A word of the mask that allows each of its 32 tokens."""
NOWHERE = 1 << 30
"""The position of a row that isn't decoding: beyond every cache, where nothing is written."""


@dataclass(eq=False)
class Ticket:
    """One request on its way through the engine.

    Attributes:
      index: stands in its events.
      on_event: told of each token and of the end.
      slot: where it sits; None while it waits and when it has ended.
      prefilled: tokens of the prompt that the cache has.
      made: tokens of the continuation so far.
    """

    index: int
    request: Request
    on_event: Callable[[Event], None]
    slot: int | None = None
    prefilled: int = 0
    made: int = 0
    ended: bool = False

    @property
    def decoding(self) -> bool:
        """Whether the whole prompt is in the cache."""
        return self.slot is not None and self.prefilled == len(self.request.prompt)

    def advance(self, token: int, logprob: float, top: tuple) -> Event:
        """What one drawn token means for the request."""
        request = self.request
        if token in request.eos_ids:
            return Event(self.index, None, logprob, "stop", top, eos=token)
        self.made += 1
        reason = None
        try:
            if request.constraint is not None and request.constraint.accept(token):
                reason = "stop"
        except ConstraintFault:
            reason = "error"
        if request.watch is not None and request.watch.accept(token):
            reason = "stop" if self.made >= request.min_tokens else reason
        if reason is None and self.made == request.max_tokens:
            reason = "length"
        return Event(self.index, token, logprob, reason, top)


class Table:
    """Settings of all slots, as arrays for the device."""

    def __init__(self, slots: int, vocab: int) -> None:
        self.vocab = vocab
        self.temperature = np.zeros((slots,), np.float32)
        self.top_k = np.zeros((slots,), np.int32)
        self.top_p = np.ones((slots,), np.float32)
        self.min_p = np.zeros((slots,), np.float32)
        self.repetition_penalty = np.ones((slots,), np.float32)
        self.presence_penalty = np.zeros((slots,), np.float32)
        self.frequency_penalty = np.zeros((slots,), np.float32)
        self.seeds = np.zeros((slots,), np.uint32)
        self.steps = np.zeros((slots,), np.int32)
        self.positions = np.full((slots,), NOWHERE, np.int32)
        self.bias_ids = np.full((slots, MOST_BIASES), vocab, np.int32)
        self.bias_values = np.zeros((slots, MOST_BIASES), np.float32)
        self.mask = np.full((slots, (vocab + 31) // 32), _FREE, np.uint32)
        self.top = np.zeros((slots,), np.int32)
        self._constrained = np.zeros((slots,), np.bool_)

    def seat(self, slot: int, request: Request) -> None:
        """Begins a request's continuation: its prompt is in the cache."""
        for name in ("temperature", "top_k", "top_p", "min_p", "repetition_penalty"):
            getattr(self, name)[slot] = getattr(request, name)
        self.presence_penalty[slot] = request.presence_penalty
        self.frequency_penalty[slot] = request.frequency_penalty
        self.seeds[slot], self.steps[slot] = request.seed, 0
        self.positions[slot], self.top[slot] = len(request.prompt), request.top_logprobs
        count = len(request.logit_bias)
        self.bias_ids[slot, :count] = list(request.logit_bias)
        self.bias_values[slot, :count] = list(request.logit_bias.values())
        self.constrain(slot, request, made=0)

    def constrain(self, slot: int, request: Request, made: int) -> None:
        """Sets which tokens may come next.

        Raises:
          ConstraintFault: the constraint can't go on.
        """
        early = made < request.min_tokens and bool(request.eos_ids)
        if request.constraint is None and not early:
            if self._constrained[slot]:
                self.mask[slot], self._constrained[slot] = _FREE, False
            return
        self._constrained[slot] = True
        self.mask[slot] = _FREE if request.constraint is None else request.constraint.mask()
        if early:
            self._without(slot, request.eos_ids)

    def _without(self, slot: int, eos_ids: tuple[int, ...]) -> None:
        """Takes ids out of a row's mask, unless nothing else may come."""
        before = self.mask[slot].copy()
        for token in eos_ids:
            if token < self.vocab:
                self.mask[slot, token >> 5] &= np.uint32(_FREE ^ (1 << (token & 31)))
        if not self.mask[slot].any():
            self.mask[slot] = before

    def clear(self, slot: int) -> None:
        """A free slot draws greedily, from all tokens, and writes nothing into the cache."""
        self.temperature[slot], self.top_k[slot], self.top_p[slot] = 0.0, 0, 1.0
        self.min_p[slot], self.repetition_penalty[slot] = 0.0, 1.0
        self.presence_penalty[slot] = self.frequency_penalty[slot] = 0.0
        self.positions[slot], self.top[slot] = NOWHERE, 0
        self.bias_ids[slot], self.bias_values[slot] = self.vocab, 0.0
        self.mask[slot], self._constrained[slot] = _FREE, False

    def settings(self) -> Settings:
        """A copy of the settings, which the device may read while the table moves on."""
        filtered = (self.top_k > 0) | (self.top_p < 1) | (self.min_p > 0)
        penalised = (self.repetition_penalty != 1) | (self.presence_penalty != 0)
        same = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
        same += ("presence_penalty", "frequency_penalty", "seeds", "steps")
        arrays: dict[str, Any] = {
            name: getattr(self, name).copy() for name in (*same, "bias_ids", "bias_values", "mask")
        }
        asked: dict[str, Any] = {
            "constrained": self._constrained.any(),
            "biased": (self.bias_ids < self.vocab).any(),
            "penalised": (penalised | (self.frequency_penalty != 0)).any(),
            "filtered": filtered.any(),
            "drawn": (self.temperature > 0).any(),
        }
        return Settings(**arrays, **asked)
