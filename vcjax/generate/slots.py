"""The host's side of the slots: who sits in each, and the settings that the device needs."""

from dataclasses import dataclass

import numpy as np

from vcjax.generate.requests import Event, Request

FREE = 0xFFFFFFFF
"""A word of the mask that allows each of its 32 tokens."""


@dataclass
class Row:
    """Host side of one slot."""

    index: int
    request: Request
    made: int = 0


@dataclass
class Table:
    """Settings of all slots, as arrays for the device."""

    slots: int
    words: int

    def __post_init__(self) -> None:
        self.temperature = np.zeros((self.slots,), np.float32)
        self.top_p = np.zeros((self.slots,), np.float32)
        self.top_k = np.zeros((self.slots,), np.int32)
        self.steps = np.zeros((self.slots,), np.int32)
        self.positions = np.zeros((self.slots,), np.int32)
        self.seeds = np.zeros((self.slots,), np.uint32)
        self.mask = np.full((self.slots, self.words), FREE, np.uint32)

    def fill(self, slot: int, request: Request) -> None:
        self.temperature[slot], self.top_p[slot] = request.temperature, request.top_p
        self.top_k[slot], self.seeds[slot] = request.top_k, request.seed
        self.positions[slot], self.steps[slot] = len(request.prompt), 0
        self.constrain(slot, request)

    def constrain(self, slot: int, request: Request) -> None:
        if request.constraint is not None:
            self.mask[slot] = request.constraint.mask().view(np.uint32)
        else:
            self.mask[slot] = FREE

    def clear(self, slot: int) -> None:
        self.temperature[slot], self.positions[slot] = 0.0, 0
        self.mask[slot] = FREE

    def arrays(self) -> tuple:
        settings = (self.temperature, self.top_k, self.top_p, self.seeds, self.steps)
        return tuple(np.array(a) for a in (self.mask, *settings, self.positions))


def advance(row: Row, token: int, logprob: float) -> Event:
    """What one sampled token means for its request."""
    request = row.request
    if token in request.eos_ids:
        return Event(row.index, None, logprob, "stop")
    row.made += 1
    if request.constraint is not None and request.constraint.accept(token):
        return Event(row.index, token, logprob, "stop")
    ended = "length" if row.made == request.max_tokens else None
    return Event(row.index, token, logprob, ended)
