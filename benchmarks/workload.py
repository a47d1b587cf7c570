"""What contenders are given to do: random ids, the same for all of them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

SEED = 0


@dataclass(frozen=True)
class Work:
    """Requests that each generate exactly their number of new tokens.

    Attributes:
      requests: how many of them.
      prompt: tokens of each prompt, after those that they share.
      new: new tokens of each; the most, where `shortest` is given.
      shared: tokens that all prompts begin with.
      shortest: the least new tokens; 0 if all make `new`.
    """

    requests: int
    prompt: int
    new: int
    shared: int = 0
    shortest: int = 0

    def prompts(self, step: int, vocab_size: int) -> np.ndarray:
        """Ids, int32 [requests, length]: others at each step, so that no engine has met them."""
        random = np.random.default_rng((SEED, step))
        shared = random.integers(vocab_size, size=self.shared, dtype=np.int32)
        own = random.integers(vocab_size, size=(self.requests, self.prompt), dtype=np.int32)
        return np.hstack([np.broadcast_to(shared, (self.requests, self.shared)), own])

    def lengths(self) -> list[int]:
        """New tokens of each request, the same at each step.

        A long tail has their logarithms uniform: half of them are below the geometric mean of
        the shortest and the longest.
        """
        if not self.shortest:
            return [self.new] * self.requests
        random = np.random.default_rng(SEED)
        logarithms = random.uniform(math.log(self.shortest), math.log(self.new), self.requests)
        return [round(length) for length in np.exp(logarithms).tolist()]

    @property
    def tokens(self) -> int:
        """New tokens of all requests together."""
        return sum(self.lengths())


def token_batches(config: dict[str, Any], vocab_size: int) -> Iterator[np.ndarray]:
    """Random ids, int32 [batch, length], without end; a function of the config's seed."""
    random = np.random.default_rng(config["seed"])
    shape = (config["batch_size"], config["length"])
    while True:
        yield random.integers(vocab_size, size=shape, dtype=np.int32)
