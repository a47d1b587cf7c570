"""What the engine is asked and what it answers, in token ids."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vcjax.foundation.errors import UserError


class TokenConstraint(Protocol):
    """Says which tokens may come next; see `vcjax.generate.constraints`."""

    def mask(self) -> np.ndarray: ...

    def accept(self, token: int) -> bool: ...


@dataclass(frozen=True)
class Request:
    """Ids to continue.

    Attributes:
      prompt: token ids, at least one.
      max_tokens: bound of the continuation.
      temperature, top_k, top_p, seed: see `vcjax.generate.sampling.sample`.
      eos_ids: each of these ends the continuation and isn't part of it.
      constraint: fresh state of a constraint, used up by this request.
    """

    prompt: tuple[int, ...]
    max_tokens: int
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    eos_ids: tuple[int, ...] = ()
    constraint: TokenConstraint | None = None

    def __post_init__(self) -> None:
        checks = {
            "prompt is empty": not self.prompt,
            f"max_tokens must be at least 1, not {self.max_tokens}": self.max_tokens < 1,
            f"temperature must be at least 0, not {self.temperature}": not (
                0 <= self.temperature < math.inf
            ),
            f"top_p must be above 0 and at most 1, not {self.top_p}": not 0 < self.top_p <= 1,
            f"top_k must be at least 0, not {self.top_k}": self.top_k < 0,
            f"seed must be at least 0 and below 2**32, not {self.seed}": not (
                0 <= self.seed < 2**32
            ),
        }
        for message, wrong in checks.items():
            if wrong:
                raise UserError(message)


@dataclass(frozen=True)
class Event:
    """One token of one request, or its end.

    `token` is None where the request ended without one (an EOS id, or a constraint that is met);
    `finish_reason` is None while it goes on, then `stop` or `length`.
    """

    index: int
    token: int | None
    logprob: float
    finish_reason: str | None


@dataclass(frozen=True)
class Result:
    """A whole continuation: ids, the log-probability of each, and why it ended."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: str
