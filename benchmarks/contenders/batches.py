"""The same rows of tokens for every contender."""

from collections.abc import Iterator
from typing import Any

import numpy as np


def token_batches(config: dict[str, Any], vocab_size: int) -> Iterator[np.ndarray]:
    """Random ids, int32 [batch, length], without end; a function of the config's seed."""
    random = np.random.default_rng(config["seed"])
    shape = (config["batch_size"], config["length"])
    while True:
        yield random.integers(vocab_size, size=shape, dtype=np.int32)
