"""What the engine is asked and what it answers, in token ids."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vcjax.core.errors import UserError

MOST_BIASES = 300
"""Entries of `logit_bias`: as many as OpenAI's API takes."""
MOST_TOP = 20
"""Alternatives of a token that can be asked for, as in OpenAI's API."""
_MOST_TOP_K = 2**31 - 1
_MOST_TEMPERATURE = 10_000
_REPETITION = (0.001, 1000)
"""Bounds within which the device's int32 and float32 hold a setting and what is computed with it:
a quotient of logits that overflows is infinite, and the draw is NaN."""


class ConstraintFault(Exception):
    """A constraint can't go on; it ends its request with the finish reason `error`."""


class TokenConstraint(Protocol):
    """Says which tokens may come next; see `vcjax.generate.constraints`."""

    def mask(self) -> np.ndarray: ...

    def accept(self, token: int) -> bool: ...


class TokenWatch(Protocol):
    """Sees each token of a continuation; True ends it. See `vcjax.generate.decoder`."""

    def accept(self, token: int) -> bool: ...


@dataclass(frozen=True)
class Request:
    """Ids to continue.

    Attributes:
      prompt: token ids, at least one.
      max_tokens, min_tokens: bounds of the continuation.
      temperature, top_k, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty,
        seed: see `vcjax.generate.sampling`.
      logit_bias: added to the logits of these ids.
      eos_ids: each of these ends the continuation and isn't part of it.
      constraint: fresh state of a constraint, used up by this request.
      watch: sees each token, and is obeyed from `min_tokens` on; used up as well.
      top_logprobs: how many of the most likely tokens are told beside each one.
    """

    prompt: tuple[int, ...]
    max_tokens: int
    min_tokens: int = 0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int = 0
    eos_ids: tuple[int, ...] = ()
    constraint: TokenConstraint | None = None
    watch: TokenWatch | None = None
    top_logprobs: int = 0

    def __post_init__(self) -> None:
        if not self.prompt:
            raise UserError("prompt is empty")
        _within("max_tokens", self.max_tokens, 1)
        _within("min_tokens", self.min_tokens, 0, self.max_tokens)
        _within("temperature", self.temperature, 0, _MOST_TEMPERATURE)
        _within("top_k", self.top_k, 0, _MOST_TOP_K)
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p must be above 0 and at most 1, not {self.top_p}")
        _within("min_p", self.min_p, 0, 1)
        _within("repetition_penalty", self.repetition_penalty, *_REPETITION)
        _within("presence_penalty", self.presence_penalty, -2, 2)
        _within("frequency_penalty", self.frequency_penalty, -2, 2)
        if len(self.logit_bias) > MOST_BIASES:
            raise UserError(
                f"logit_bias has {len(self.logit_bias)} entries; at most {MOST_BIASES} are taken"
            )
        for token, bias in self.logit_bias.items():
            _within(f"logit_bias of token {token}", bias, -100, 100)
        if not 0 <= self.seed < 2**32:
            raise UserError(f"seed must be at least 0 and below 2**32, not {self.seed}")
        _within("top_logprobs", self.top_logprobs, 0, MOST_TOP)


def _within(name: str, value: float, least: float, most: float = math.inf) -> None:
    if not (least <= value <= most and value < math.inf):
        bound = "" if most == math.inf else f" and at most {most}"
        raise UserError(f"{name} must be at least {least}{bound}, not {value}")


Alternatives = tuple[tuple[int, float], ...]
"""Ids and log-probabilities, the most likely first."""


@dataclass(frozen=True)
class Event:
    """One token of one request, or its end.

    `token` is None where the request ended without one (an EOS id, which is `eos` then, or a
    constraint that is met); `finish_reason` is None while it goes on, then `stop`, `length`,
    `error` (its constraint can't go on, or `cause` was raised on its behalf) or `cancelled`.
    """

    index: int
    token: int | None
    logprob: float
    finish_reason: str | None
    top: Alternatives = ()
    eos: int | None = None
    cause: BaseException | None = None


@dataclass(frozen=True)
class Result:
    """A whole continuation: ids, the log-probability and alternatives of each, and why it ended."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: str
    top: tuple[Alternatives, ...] = ()
