"""What an engine keeps on the devices for its slots, whatever the form of its cache.

Beside the cache these are each slot's next logits, and the counts of its tokens. The cache has one
of two forms: rows, each as long as the longest sequence needs (`vcjax.generate.cache.DecodeState`),
or pages of one pool (`vcjax.generate.paged_state.PagedState`).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from vcjax.generate import programs
from vcjax.generate.layout import ModelLayout
from vcjax.generate.requests import Request, Scored
from vcjax.generate.scoring import computed_top, scored_of
from vcjax.generate.slots import SlotBatch, SlotTable
from vcjax.model.build import Params

TILE = 32
"""Tokens of a prompt that are run as one row of a batch."""


class Chunk(NamedTuple):
    """A part of a prompt.

    Attributes:
      start: its position in the prompt, a multiple of TILE.
      is_last: whether the prompt ends with it.
    """

    slot: int
    start: int
    tokens: Sequence[int]
    is_last: bool

    @property
    def tiles(self) -> int:
        """Number of tiles that it takes."""
        return tiles_of(len(self.tokens))


def tiles_of(length: int) -> int:
    """Number of tiles that so many tokens of a prompt take."""
    return -(-length // TILE)


class SlotState(ABC):
    """Cache, logits and token counts of the slots, made when they are needed.

    Attributes:
      has_mixed_batches: whether chunks of prompts can be run in one program with the drawn tokens.
    """

    has_mixed_batches: bool

    def __init__(self, layout: ModelLayout, slots: int) -> None:
        self._layout, self._slots = layout, slots
        self._cache: Any = None
        self._logits: Any = None
        self._counts: Any = None

    def release(self) -> None:
        """Frees the memory; the contents of the slots and all prefixes are lost."""
        self._cache = self._logits = self._counts = None
        self.forget_prefixes()

    @property
    def is_intact(self) -> bool:
        """Whether all slots are valid: no program failed after it had started to overwrite them."""
        leaves = jax.tree.leaves((self._cache, self._logits, self._counts))
        return not any(leaf.is_deleted() for leaf in leaves)

    @property
    @abstractmethod
    def context(self) -> int:
        """Tokens for which each slot has room now."""

    @abstractmethod
    def planned_bytes(self, context: int) -> int:
        """Bytes on all devices together, where sequences have up to `context` tokens."""

    @abstractmethod
    def reserve(self, slot: int, request: Request) -> bool:
        """Gives a slot what its request may need of the cache; False if it isn't there now."""

    @abstractmethod
    def free(self, slot: int) -> None:
        """Takes from a slot what it had of the cache."""

    @abstractmethod
    def fit(self, need: int, *, empty: bool) -> None:
        """Makes room for `need` tokens in each slot.

        Args:
          empty: no slot has anything that must be preserved.
        """

    @property
    @abstractmethod
    def most_prefix_blocks(self) -> int:
        """Blocks of a prompt's prefix that can be kept; 0 if none are."""

    @abstractmethod
    def prefix_blocks(self, prompt: Sequence[int]) -> int:
        """Number of blocks of a prompt's prefix that are kept of earlier ones."""

    @abstractmethod
    def reuse_prefix(self, slot: int, prompt: Sequence[int]) -> int:
        """Starts a slot with what is kept of its prompt; returns the number of tokens."""

    @abstractmethod
    def keep_prefix(self, slot: int, prompt: Sequence[int]) -> None:
        """Keeps the prefix of a slot's prompt, which has been run, for later ones."""

    @abstractmethod
    def forget_prefixes(self) -> None:
        """Keeps no prefix any longer, such as when the parameters have changed."""

    @abstractmethod
    def batch_tiles(self, wanted: int, most: int) -> int:
        """How many tiles to run together of those that wait.

        Args:
          most: tiles of the largest batch.
        """

    @abstractmethod
    def width(self, chunk: Chunk) -> int:
        """Number of hidden states that a chunk has among those of its batch."""

    @abstractmethod
    def prefill(self, params: Params, chunks: Sequence[Chunk]) -> Float[Array, "padded d"]:
        """Runs chunks of prompts as one batch, and returns their hidden states, of `width` each."""

    def batch(
        self, table: SlotTable, slots: int | None = None, chunks: Sequence[Chunk] = ()
    ) -> SlotBatch:
        """The table on the devices for a step.

        Args:
          slots: number of the first ones that the step is for; None is all.
          chunks: of prompts that will be run with the drawn tokens.
        """
        return table.batch(slots)

    def sample(
        self, batch: SlotBatch, top: int
    ) -> tuple[Int[Array, " some"], Int[Array, "some results"]]:
        """Draws a token for every slot in the batch; the tokens, and all results for
        `sampling.unpack`."""
        tokens, results, self._counts = programs.sample(self._logits, self._counts, batch, top)
        return tokens, results

    @abstractmethod
    def decode(
        self,
        params: Params,
        tokens: Int[Array, " some"],
        batch: SlotBatch,
        *,
        running: int = 0,
        chunks: Sequence[Chunk] = (),
    ) -> Float[Array, "padded d"] | None:
        """Runs the tokens that were drawn by the batch, each at its slot's position.

        Args:
          running: number of slots that decode.
          chunks: those that the batch was made with.

        Returns:
          The chunks' hidden states, as `prefill` does; None without mixed batches.
        """

    def score(
        self,
        params: Params,
        hidden: Float[Array, "padded d"],
        first: int,
        targets: Int[np.ndarray, " number"],
        top: int,
    ) -> Scored:
        """Scores the tokens after those of a chunk, of which the last may have none.

        Args:
          hidden: from `prefill`; the chunk is there from the index `first` on.
          top: number of most likely tokens that are returned for each.
        """
        vocab_size, number = self._layout.config.vocab_size, len(targets)
        padded = np.zeros((len(hidden),), np.int32)
        padded[:number] = targets
        results = programs.score_chunk(
            self._layout.graph,
            params,
            hidden,
            self._layout.upload(np.concatenate([np.array([first, number], np.int32), padded])),
            top=computed_top(top, vocab_size),
        )
        return scored_of([np.asarray(each) for each in results], 0, number, top)

    def count_prompt(self, prompt: Int[np.ndarray, " length"], slot: int) -> None:
        """Sets a slot's token counts to those of its prompt."""
        numbers = np.zeros((1 + self._layout.config.vocab_size,), np.int32)
        numbers[0], numbers[1:][prompt] = slot, 1
        self._counts = programs.count_prompt(self._counts, self._layout.upload(numbers))

    def _make_logits(self) -> None:
        if self._logits is None:
            size = self._slots, self._layout.config.vocab_size
            self._logits, self._counts = programs.new_logits(self._layout.mesh, *size)


def power_of_two(length: int, least: int) -> int:
    """The smallest power of two times `least` that is at least `length`."""
    size = least
    while size < length:
        size *= 2
    return size
