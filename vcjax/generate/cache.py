"""A cache of rows, one for each slot, and the pool of prefix blocks beside it.

Source: Kwon et al., arXiv 2309.06180 (blocks).
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from vcjax.generate import programs
from vcjax.generate.layout import ModelLayout
from vcjax.generate.prefixes import PrefixTree
from vcjax.generate.requests import Request
from vcjax.generate.slot_state import TILE, Chunk, SlotState, power_of_two
from vcjax.generate.slots import SlotBatch
from vcjax.model.attention.cached import BLOCK
from vcjax.model.build import Params
from vcjax.parallel import replica_count

PREFIX_TOKENS = 4096
"""Tokens of prompts' prefixes that an engine keeps, unless another number is set."""
MIN_WINDOW = 128
_LEAST_TILES = 2
"""Of a batch. On a CPU the same row of 32 comes out otherwise than that of 64 or more: XLA takes
another matmul. It also sums otherwise where there are fewer than _LEAST_SUMMED numbers."""
_LEAST_SUMMED = 4096
_SHRINK_AFTER = 64
"""Steps in a row for which half of the cache is enough, before it is cut."""


class DecodeState(SlotState):
    """The slots with a cache of rows, and the pool of blocks.

    Every step reads the whole cache, so it is kept as short as the longest slot allows.
    """

    has_mixed_batches = False

    def __init__(
        self, layout: ModelLayout, slots: int, pool_blocks: int, context: int | None = None
    ) -> None:
        """Args:
        pool_blocks: blocks of prefixes in the pool.
        context: tokens of the longest sequence; None is the model's maximum.
        """
        super().__init__(layout, slots)
        self._pool_blocks, self._prefixes = pool_blocks, PrefixTree(pool_blocks)
        per_tile = TILE * layout.config.hidden_size
        self._least_tiles = power_of_two(-(-_LEAST_SUMMED // per_tile), _LEAST_TILES)
        self._max_context = -(-(context or layout.config.max_position) // BLOCK) * BLOCK
        self._pool: Any = None
        self._roomy_steps = 0

    def release(self) -> None:
        super().release()
        self._pool, self._roomy_steps = None, 0

    def planned_bytes(self, context: int) -> int:
        window = self.window(context)
        return state_bytes(self._layout, self._slots, window, self._pool_blocks * BLOCK)

    @property
    def is_intact(self) -> bool:
        pool = jax.tree.leaves(self._pool)
        return super().is_intact and not any(leaf.is_deleted() for leaf in pool)

    @property
    def context(self) -> int:
        return 0 if self._cache is None else self._cache[0][0].shape[2] * BLOCK

    def fit(self, need: int, *, empty: bool) -> None:
        """See `SlotState`; a cache that is far too long shrinks."""
        window = self.window(need)
        if self._cache is None or (empty and window != self.context):
            self._cache = None  # freed before the next one is allocated
            self._cache = self._new_cache(programs.CACHE_AXES, self._slots, window)
            self._roomy_steps = 0
        elif window > self.context:
            self._resize(window)
        else:
            # Requests come and go: a cache that shrank at once would soon be grown again.
            self._roomy_steps = self._roomy_steps + 1 if 2 * window <= self.context else 0
            if self._roomy_steps >= _SHRINK_AFTER:
                self._resize(window)
        self._make_logits()

    def reserve(self, slot: int, request: Request) -> bool:
        return True  # every slot has a row

    def free(self, slot: int) -> None:
        pass  # the next request overwrites what is there

    def window(self, length: int) -> int:
        """The least room for `length` tokens in each slot: 128, and from there on powers of two and
        the middles between them, up to the longest sequence's."""
        window = power_of_two(length, MIN_WINDOW)
        if window > MIN_WINDOW and length <= 3 * window // 4:
            window = 3 * window // 4
        return min(window, self._max_context)

    def windows(self, longest: int) -> list[int]:
        """The rooms that sequences of up to so many tokens may have, the shortest first."""
        found = [self.window(1)]
        while found[-1] < min(longest, self._max_context):
            found.append(self.window(found[-1] + 1))
        return found

    @property
    def prefix_sizes(self) -> list[int]:
        """Numbers of blocks that are copied to or from the pool at once: few, as each is compiled
        once. They are 1, 4, 16 and so on, and all that a slot has room for."""
        return buckets(self.context // BLOCK)

    def batch_tiles(self, wanted: int, most: int) -> int:
        """As many as a batch that is little padded can have."""
        wanted = min(wanted, most)
        size = self.padded_tiles(wanted)
        # A tile of padding costs as much as one of a prompt; what is left over, another batch.
        is_least = size == self._least_tiles
        return wanted if is_least or 4 * (size - wanted) <= size else size // 2

    def padded_tiles(self, tiles: int) -> int:
        """The size of a batch of so many tiles. Sizes are few, as each is compiled once."""
        return power_of_two(tiles, self._least_tiles)

    def batch_sizes(self, most: int) -> list[int]:
        """The sizes that batches of up to so many tiles have, the smallest first."""
        sizes = [self.padded_tiles(1)]
        while sizes[-1] < self.padded_tiles(most):
            sizes.append(self.padded_tiles(sizes[-1] + 1))
        return sizes

    def width(self, chunk: Chunk) -> int:
        return chunk.tiles * TILE

    def prefill(self, params: Params, chunks: Sequence[Chunk]) -> Float[Array, "padded d"]:
        """See `SlotState`. Of one prompt there may be several chunks, if they come in its order."""
        number = self.padded_tiles(sum(chunk.tiles for chunk in chunks))
        tiles = np.zeros((number, len(programs.TILE_FIELDS) + TILE), np.int32)
        starts, slots, ends = tiles[:, : len(programs.TILE_FIELDS)].T
        slots[:], ends[:] = self._slots, number * TILE
        done = 0
        for chunk in chunks:
            own = slice(done, done + chunk.tiles)
            tokens = np.zeros((chunk.tiles * TILE,), np.int32)
            tokens[: len(chunk.tokens)] = chunk.tokens
            tiles[own, len(programs.TILE_FIELDS) :] = tokens.reshape(-1, TILE)
            starts[own] = range(chunk.start, chunk.start + len(chunk.tokens), TILE)
            slots[own] = chunk.slot
            if chunk.is_last:
                ends[own.stop - 1] = done * TILE + len(chunk.tokens) - 1
            done += chunk.tiles
        self._cache, self._logits, hidden = programs.prefill(
            self._layout.graph,
            self._layout.mesh,
            params,
            self._cache,
            self._logits,
            tiles=self._layout.upload(tiles),
        )
        return hidden

    def decode(
        self,
        params: Params,
        tokens: Int[Array, " some"],
        batch: SlotBatch,
        *,
        running: int = 0,
        chunks: Sequence[Chunk] = (),
    ) -> None:
        self._cache, self._logits = programs.decode(
            self._layout.graph,
            self._layout.mesh,
            params,
            self._cache,
            self._logits,
            tokens=tokens,
            batch=batch,
        )

    @property
    def most_prefix_blocks(self) -> int:
        return self._pool_blocks

    def prefix_blocks(self, prompt: Sequence[int]) -> int:
        return len(self._prefixes.find(prompt))

    def reuse_prefix(self, slot: int, prompt: Sequence[int]) -> int:
        blocks = self._prefixes.find(prompt)
        self.load_prefix(slot, blocks)
        return len(blocks) * BLOCK

    def keep_prefix(self, slot: int, prompt: Sequence[int]) -> None:
        blocks = self._prefixes.add(prompt)
        if any(block is not None for block in blocks):
            try:
                self.store_prefix(slot, blocks)
            except BaseException:
                self.forget_prefixes()  # it lists blocks that nothing was copied to
                raise

    def forget_prefixes(self) -> None:
        self._prefixes.clear()

    def store_prefix(self, slot: int, blocks: Sequence[int | None]) -> None:
        """Copies the first blocks of a slot to those blocks of the pool that aren't None."""
        if self._pool is None:
            self._pool = self._new_cache(programs.POOL_AXES, self._pool_blocks, BLOCK)
        skipped = self._pool_blocks  # an index beyond the pool, where nothing is written
        targets = [skipped if block is None else block for block in blocks]
        self._pool = programs.store_prefix(
            self._layout.mesh, self._pool, self._cache, self._slot_blocks(slot, targets, skipped)
        )

    def load_prefix(self, slot: int, blocks: Sequence[int]) -> None:
        """Copies blocks of the pool to the start of a slot."""
        # The padding copies block 0 behind the prefix, where the prefill then overwrites it.
        self._cache = programs.load_prefix(
            self._layout.mesh, self._pool, self._cache, self._slot_blocks(slot, blocks, 0)
        )

    def _resize(self, length: int) -> None:
        """Changes the room of every slot to `length` tokens, one array after the other, so that the
        old cache and the new one aren't in memory together.

        If memory doesn't suffice, the slots keep the room that they had.
        """
        mesh, before = self._layout.mesh, self.context
        leaves, tree = jax.tree.flatten(self._cache)

        def change(number: int, size: int) -> None:
            old = leaves[number]
            # Waited for, as the old one's memory isn't free before.
            leaves[number] = jax.block_until_ready(programs.resize(mesh, old, size // BLOCK))
            old.delete()

        try:
            for number in range(len(leaves)):
                change(number, length)
        except BaseException:
            try:
                for number, leaf in enumerate(leaves):
                    if leaf.shape[2] * BLOCK != before:
                        change(number, before)
            except BaseException:
                for leaf in leaves:  # of several lengths they are no cache; see `is_intact`
                    leaf.delete()
                raise
            raise
        finally:
            self._cache = jax.tree.unflatten(tree, leaves)
        self._roomy_steps = 0

    def compile_resizes(self, rooms: Sequence[int]) -> None:
        """Runs the programs that change the room of a slot to any of these, but keeps it."""
        for leaf in self._cache[0]:  # the other layers have arrays of the same shapes
            for room in rooms:
                if room > self.context or 2 * room <= self.context:  # as in `fit`
                    programs.resize(self._layout.mesh, leaf, room // BLOCK)

    def _slot_blocks(
        self, slot: int, blocks: Sequence[int], padding: int
    ) -> Int[Array, " 1+blocks"]:
        """A slot and indices of blocks, as many as one of `prefix_sizes`."""
        size = next(size for size in self.prefix_sizes if size >= len(blocks))
        numbers = np.full((1 + size,), padding, np.int32)
        numbers[0], numbers[1 : 1 + len(blocks)] = slot, blocks
        return self._layout.upload(numbers)

    def _new_cache(self, axes: tuple[str, ...], rows: int, length: int) -> Any:
        return programs.new_cache(
            self._layout.config,
            self._layout.mesh,
            axes,
            rows=rows,
            length=length,
            dtype=self._layout.dtype,
        )


def state_bytes(
    layout: ModelLayout, slots: int, context: int, prefix_tokens: int = PREFIX_TOKENS
) -> int:
    """Bytes of an engine's memory beside the parameters, on all its devices together.

    Args:
      context: tokens that each slot has room for.
      prefix_tokens: of the pool.
    """
    config, mesh = layout.config, layout.mesh

    def cached(axes: tuple[str, ...], rows: int, length: int) -> int:
        shape = rows, config.num_kv_heads, length // BLOCK, config.head_dim, BLOCK
        copies = 1 if mesh is None else replica_count(mesh, axes, shape)
        return 2 * config.num_layers * math.prod(shape) * layout.dtype.itemsize * copies

    length = -(-context // BLOCK) * BLOCK
    pool = cached(programs.POOL_AXES, prefix_tokens // BLOCK, BLOCK)
    logits_and_counts = 2 * 4 * slots * config.vocab_size
    return cached(programs.CACHE_AXES, slots, length) + pool + logits_and_counts


def buckets(most: int) -> list[int]:
    """The sizes 1, 4, 16 and so on below `most`, and `most`: few, where each is a program."""
    return [*(4**n for n in range(most.bit_length()) if 4**n < most), most]
