"""What the devices hold for an engine beside the parameters: its rows and the pool of prefixes."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vcjax.generate import programs
from vcjax.generate.placing import Placing
from vcjax.generate.prefixes import BLOCK
from vcjax.generate.sampling import Drawn, Settings
from vcjax.model.build import Params

SMALLEST_WINDOW = 128
SMALLEST_PART = 32
_PATIENCE = 64
"""Steps in a row that could do with half the cache, before it is cut to half."""


class Memory:
    """The slots' cache, logits and counts, and the pooled blocks; made when first needed."""

    def __init__(self, placing: Placing, slots: int, places: int) -> None:
        """`places` is the number of blocks that the pool can hold."""
        self._placing, self._slots, self._places = placing, slots, places
        # Whole blocks, so that a window can be taken from the pool.
        self._longest = -(-placing.config.max_position // BLOCK) * BLOCK
        self.release()

    def release(self) -> None:
        """Gives it back; what was in the rows and in the pool is lost."""
        self._cache: Any = None
        self._logits: Any = None
        self._counts: Any = None
        self._pool: Any = None
        self._roomy = 0

    def planned_bytes(self, context: int) -> int:
        """Bytes that it takes with rows of `context` tokens and a full pool."""
        rows = self._cached(programs.CACHE_AXES, self._slots, self.window(context))
        pool = self._cached(programs.POOL_AXES, self._places, BLOCK)
        return rows + pool + 2 * 4 * self._slots * self._placing.config.vocab_size

    def _cached(self, axes: tuple[str, ...], rows: int, length: int) -> int:
        """Bytes of keys and values on all devices together."""
        config, on = self._placing.config, self._placing.on
        shape = rows, config.num_kv_heads, length, config.head_dim
        one = math.prod(shape) * self._placing.dtype.itemsize
        return 2 * config.num_layers * one * (1 if on is None else on.copies(axes, shape))

    @property
    def is_whole(self) -> bool:
        """Whether all rows are as they were: no program failed after it had begun to overwrite."""
        leaves = jax.tree.leaves((self._cache, self._logits, self._counts, self._pool))
        return not any(leaf.is_deleted() for leaf in leaves)

    @property
    def context(self) -> int:
        """Tokens that a row can hold now."""
        return 0 if self._cache is None else self._cache[0][0].shape[2]

    def fit(self, need: int, *, empty: bool) -> None:
        """Sees to it that rows hold `need` tokens, and not many times as many.

        Every step reads the whole cache, so it is kept as small as the longest row allows.

        Args:
          empty: no row holds anything worth keeping.
        """
        placing, window = self._placing, self.window(need)
        if self._cache is None or (empty and window != self.context):
            self._cache = None  # freed before the next is made
            self._cache = programs.new_cache(
                placing.config, placing.on, self._slots, window, placing.dtype
            )
            self._roomy = 0
        elif window > self.context:
            self._cache, self._roomy = programs.resized(placing.on, self._cache, window), 0
        else:
            self._roomy = self._roomy + 1 if 2 * window <= self.context else 0
            if self._roomy >= _PATIENCE:
                self._cache, self._roomy = programs.resized(placing.on, self._cache, window), 0
        if self._logits is None:
            size = self._slots, placing.config.vocab_size
            self._logits = programs.new_logits(placing.on, *size)
            self._counts = jnp.zeros(size, jnp.int32)

    def window(self, length: int) -> int:
        """The smallest room that holds `length`, if the model has it: 128, 256, and from there on
        powers of two and what lies halfway between them."""
        window = _power(length, SMALLEST_WINDOW)
        if window > 2 * SMALLEST_WINDOW and length <= 3 * window // 4:
            window = 3 * window // 4
        return min(window, self._longest)

    def prefill(self, params: Params, part: np.ndarray, start: int, slot: int, most: int) -> None:
        """Runs a part of a prompt, of at most `most` tokens; see `programs.prefill`."""
        size = min(_power(len(part), SMALLEST_PART), most)
        tokens = np.zeros((1, size), np.int32)
        tokens[0, : len(part)] = part
        self._cache, self._logits = programs.prefill(
            self._placing.graph,
            self._placing.on,
            params,
            self._cache,
            self._logits,
            tokens,
            np.int32(start),
            np.int32(len(part)),
            np.int32(slot),
            self.window(start + len(part)),
        )

    def enter(self, prompt: np.ndarray, slot: int) -> None:
        """Begins a slot's counts of tokens with its prompt."""
        padded = np.full((self.window(len(prompt)),), self._placing.config.vocab_size, np.int32)
        padded[: len(prompt)] = prompt
        self._counts = programs.enter(self._counts, padded, np.int32(slot))

    def draw(self, settings: Settings, top: int) -> Drawn:
        """Draws a token for every slot."""
        drawn, self._counts = programs.choose(self._logits, self._counts, settings, top)
        return drawn

    def extend(self, params: Params, tokens: jax.Array, positions: np.ndarray) -> None:
        """Runs one token of every slot."""
        placing = self._placing
        self._cache, self._logits = programs.extend(
            placing.graph, placing.on, params, self._cache, self._logits, tokens, positions
        )

    def keep(self, slot: int, places: Sequence[int | None]) -> None:
        """Copies the first blocks of a slot's row to those places of the pool that aren't None."""
        placing = self._placing
        if self._pool is None:
            self._pool = programs.new_pool(
                placing.config, placing.on, self._places, BLOCK, placing.dtype
            )
        blocks = self._blocks([self._places if place is None else place for place in places])
        self._pool = programs.keep(placing.on, self._pool, self._cache, np.int32(slot), blocks)

    def recall(self, slot: int, places: Sequence[int]) -> None:
        """Copies blocks of the pool to the beginning of a slot's row."""
        blocks = self._blocks(places)
        blocks[len(places) :] = 0  # overwritten by what is prefilled
        self._cache = programs.recall(
            self._placing.on, self._pool, self._cache, np.int32(slot), blocks
        )

    def _blocks(self, places: Sequence[int]) -> np.ndarray:
        """Places, filled up with none to the blocks of a window."""
        blocks = np.full((self.window(len(places) * BLOCK) // BLOCK,), self._places, np.int32)
        blocks[: len(places)] = places
        return blocks


def _power(length: int, least: int) -> int:
    size = least
    while size < length:
        size *= 2
    return size
