"""What an engine keeps on the devices beside the parameters: KV cache, logits, prefix blocks.

Thousands of prompts start with the same charter, persona or rubric. Blocks of such prefixes are
kept in a pool on the devices; `PrefixTree` is its index on the host, `DecodeState` the memory.

Sources: Kwon et al., arXiv 2309.06180 (blocks); Zheng et al., arXiv 2312.07104 (the tree).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vcjax.generate import programs
from vcjax.generate.layout import ModelLayout
from vcjax.generate.requests import Scored
from vcjax.generate.sampling import Drawn, SamplingBatch
from vcjax.generate.scoring import computed_top, scored_of
from vcjax.model.build import Params
from vcjax.parallel import replica_count

BLOCK = 32
"""Tokens of a prefix block."""
PREFIX_TOKENS = 4096
"""Tokens of prompts' prefixes that an engine keeps, where nobody says."""
MIN_WINDOW = 128
MIN_CHUNK = 32
_SHRINK_AFTER = 64
"""Steps in a row for which half of the cache is enough, before it is cut."""


@dataclass(eq=False)
class _Node:
    block: int
    tokens: tuple[int, ...]
    parent: "_Node | None"
    last_used: int = 0
    children: dict[tuple[int, ...], "_Node"] = field(default_factory=dict)


class PrefixTree:
    """Which prefixes the pool contains: a tree of blocks, found by their tokens.

    A block is found through all the blocks before it, so its keys and values are the same for every
    prompt that finds it. The least recently used leaf is replaced first.
    """

    def __init__(self, capacity: int) -> None:
        """`capacity` is the number of blocks in the pool."""
        self.capacity = capacity
        self.clear()

    def clear(self) -> None:
        """Forgets all blocks, such as when the parameters have changed."""
        self._root = _Node(-1, (), None)
        self._nodes: dict[int, _Node] = {}
        self._clock = 0

    def find(self, prompt: Sequence[int]) -> list[int]:
        """Indices of the pool's blocks that start the prompt, in order.

        They leave at least one token of the prompt to run, since its logits are needed.
        """
        return [node.block for node in self._path(prompt)]

    def add(self, prompt: Sequence[int]) -> list[int | None]:
        """Assigns blocks of the pool to those of the prompt that aren't there yet.

        Returns:
          For each block of the prompt the index of its new block in the pool, or None if nothing is
          to be copied: it is there already, or the pool is full.
        """
        path = self._path(prompt)
        needed = [tuple(block) for block in _whole_blocks(prompt)]
        assigned: list[int | None] = [None] * len(needed)
        node = path[-1] if path else self._root
        for index in range(len(path), len(needed)):
            block = self._free_block()
            if block is None:
                break
            child = _Node(block, needed[index], node, self._clock)
            node.children[needed[index]] = self._nodes[block] = child
            assigned[index], node = block, child
        return assigned

    def _path(self, prompt: Sequence[int]) -> list[_Node]:
        self._clock += 1
        node, path = self._root, []
        for block in _whole_blocks(prompt):
            child = node.children.get(tuple(block))
            if child is None:
                break
            child.last_used = self._clock
            path.append(child)
            node = child
        return path

    def _free_block(self) -> int | None:
        # Only leaves are replaced: without an inner block those below it could never be found.
        # A replaced block is assigned again at once, so the indices have no gaps.
        if len(self._nodes) < self.capacity:
            return len(self._nodes)
        leaves = (node for node in self._nodes.values() if not node.children)
        oldest = min(leaves, key=lambda node: node.last_used, default=None)
        # A leaf of this moment is the prompt's own: replacing it would cut the path being added.
        if oldest is None or oldest.last_used == self._clock:
            return None
        assert oldest.parent is not None
        del oldest.parent.children[oldest.tokens], self._nodes[oldest.block]
        return oldest.block


def _whole_blocks(prompt: Sequence[int]) -> list[Sequence[int]]:
    count = (len(prompt) - 1) // BLOCK
    return [prompt[n * BLOCK : (n + 1) * BLOCK] for n in range(count)]


class DecodeState:
    """Cache, logits and token counts of the slots, and the pool of blocks; made when needed.

    Every step reads the whole cache, so it is kept as short as the longest slot allows.
    """

    def __init__(
        self, layout: ModelLayout, slots: int, pool_blocks: int, context: int | None = None
    ) -> None:
        """Args:
        pool_blocks: blocks of prefixes in the pool.
        context: tokens of the longest sequence; None is the model's maximum.
        """
        self._layout, self._slots, self._pool_blocks = layout, slots, pool_blocks
        # Whole blocks, so that a window can be copied from the pool.
        self._max_context = -(-(context or layout.config.max_position) // BLOCK) * BLOCK
        self.release()

    def release(self) -> None:
        """Frees the memory; the contents of the slots and of the pool are lost."""
        self._cache: Any = None
        self._logits: Any = None
        self._counts: Any = None
        self._pool: Any = None
        self._roomy_steps = 0

    def planned_bytes(self, context: int) -> int:
        """Bytes on all devices together with `context` tokens in every slot and a full pool."""
        window = self.window(context)
        return state_bytes(self._layout, self._slots, window, self._pool_blocks * BLOCK)

    @property
    def is_intact(self) -> bool:
        """Whether all slots are valid: no program failed after it had started to overwrite them."""
        leaves = jax.tree.leaves((self._cache, self._logits, self._counts, self._pool))
        return not any(leaf.is_deleted() for leaf in leaves)

    @property
    def context(self) -> int:
        """Tokens for which each slot has room now."""
        return 0 if self._cache is None else self._cache[0][0].shape[2]

    def fit(self, need: int, *, empty: bool) -> None:
        """Makes room for `need` tokens in each slot, and shrinks a cache that is far too long.

        Args:
          empty: no slot has anything that must be preserved.
        """
        layout, window = self._layout, self.window(need)
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
        if self._logits is None:
            size = self._slots, layout.config.vocab_size
            self._logits = programs.new_logits(layout.mesh, *size)
            self._counts = jnp.zeros(size, jnp.int32)

    def window(self, length: int) -> int:
        """The smallest window with room for `length` tokens: 128, 256, and from there on powers of
        two and the middles between them, up to the longest sequence's."""
        window = _power_of_two(length, MIN_WINDOW)
        if window > 2 * MIN_WINDOW and length <= 3 * window // 4:
            window = 3 * window // 4
        return min(window, self._max_context)

    def prefill(
        self,
        params: Params,
        chunk: Int[np.ndarray, " length"],
        *,
        start: int,
        slot: int,
        max_chunk: int,
    ) -> Float[Array, "padded d"]:
        """Runs the next chunk of a prompt, which is padded to `max_chunk` tokens or a smaller power
        of two, and returns its hidden states."""
        # Numbers are passed as arrays, sizes as static arguments: each size is compiled once, and
        # there are few.
        size = min(_power_of_two(len(chunk), MIN_CHUNK), max_chunk)
        tokens = np.zeros((1, size), np.int32)
        tokens[0, : len(chunk)] = chunk
        self._cache, self._logits, hidden = programs.prefill(
            self._layout.graph,
            self._layout.mesh,
            params,
            self._cache,
            self._logits,
            tokens=tokens,
            start=np.int32(start),
            number=np.int32(len(chunk)),
            slot=np.int32(slot),
            window=self.window(start + len(chunk)),
        )
        return hidden

    def score(
        self,
        params: Params,
        hidden: Float[Array, "padded d"],
        targets: Int[np.ndarray, " number"],
        top: int,
    ) -> Scored:
        """Scores the tokens after those of a chunk, of which the last may have none.

        Args:
          hidden: from `prefill`.
          top: number of most likely tokens that are returned for each.
        """
        vocab_size, number = self._layout.config.vocab_size, len(targets)
        padded = np.zeros((len(hidden),), np.int32)
        padded[:number] = targets
        results = programs.score_chunk(
            self._layout.graph,
            params,
            hidden,
            padded,
            np.int32(number),
            top=computed_top(top, vocab_size),
        )
        return scored_of([np.asarray(each) for each in results], 0, number, top)

    def count_prompt(self, prompt: Int[np.ndarray, " length"], slot: int) -> None:
        """Sets a slot's token counts to those of its prompt."""
        vocab_size = self._layout.config.vocab_size
        padded = np.full((self.window(len(prompt)),), vocab_size, np.int32)
        padded[: len(prompt)] = prompt
        self._counts = programs.count_prompt(self._counts, padded, np.int32(slot))

    def sample(self, batch: SamplingBatch, top: int) -> Drawn:
        """Draws a token for every slot."""
        drawn, self._counts = programs.sample(self._logits, self._counts, batch, top)
        return drawn

    def decode(
        self,
        params: Params,
        tokens: Int[Array, " slots"],
        positions: Int[np.ndarray, " slots"],
    ) -> None:
        """Runs one token of every slot."""
        self._cache, self._logits = programs.decode(
            self._layout.graph,
            self._layout.mesh,
            params,
            self._cache,
            self._logits,
            tokens=tokens,
            positions=positions,
        )

    def store_prefix(self, slot: int, blocks: Sequence[int | None]) -> None:
        """Copies the first blocks of a slot to those blocks of the pool that aren't None."""
        if self._pool is None:
            self._pool = self._new_cache(programs.BLOCK_AXES, self._pool_blocks, BLOCK)
        skipped = self._pool_blocks  # an index beyond the pool, where nothing is written
        targets = self._padded([skipped if block is None else block for block in blocks], skipped)
        self._pool = programs.store_prefix(
            self._layout.mesh, self._pool, self._cache, np.int32(slot), targets
        )

    def load_prefix(self, slot: int, blocks: Sequence[int]) -> None:
        """Copies blocks of the pool to the start of a slot."""
        # The padding copies block 0 behind the prefix, where the prefill then overwrites it.
        sources = self._padded(blocks, 0)
        self._cache = programs.load_prefix(
            self._layout.mesh, self._pool, self._cache, np.int32(slot), sources
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
            leaves[number] = jax.block_until_ready(programs.resize(mesh, old, size))
            old.delete()

        try:
            for number in range(len(leaves)):
                change(number, length)
        except BaseException:
            try:
                for number, leaf in enumerate(leaves):
                    if leaf.shape[2] != before:
                        change(number, before)
            except BaseException:
                for leaf in leaves:  # of several lengths they are no cache; see `is_intact`
                    leaf.delete()
                raise
            raise
        finally:
            self._cache = jax.tree.unflatten(tree, leaves)
        self._roomy_steps = 0

    def _padded(self, blocks: Sequence[int], padding: int) -> Int[np.ndarray, " blocks"]:
        """Block indices for a whole window: programs are compiled for few lengths."""
        padded = np.full((self.window(len(blocks) * BLOCK) // BLOCK,), padding, np.int32)
        padded[: len(blocks)] = blocks
        return padded

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
        shape = rows, config.num_kv_heads, length, config.head_dim
        copies = 1 if mesh is None else replica_count(mesh, axes, shape)
        return 2 * config.num_layers * math.prod(shape) * layout.dtype.itemsize * copies

    length = -(-context // BLOCK) * BLOCK
    pool = cached(programs.BLOCK_AXES, prefix_tokens // BLOCK, BLOCK)
    logits_and_counts = 2 * 4 * slots * config.vocab_size
    return cached(programs.CACHE_AXES, slots, length) + pool + logits_and_counts


def _power_of_two(length: int, least: int) -> int:
    size = least
    while size < length:
        size *= 2
    return size
