"""A cache of pages: slots have as many as their requests need, of one pool.

Prompts and drawn tokens are run by one program, in one axis: chunks of prompts ride along with a
step of decoding, and the weights are read once. A long prompt takes pages of its own and makes no
other slot longer.

Sources: Kwon et al., arXiv 2309.06180 (pages); Agrawal et al., arXiv 2308.16369 (chunks of prompts
beside decoding).
"""

import math
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from vcjax.generate import paged_programs
from vcjax.generate.layout import ModelLayout
from vcjax.generate.page_table import PageTable
from vcjax.generate.paged_programs import CHUNK_FIELDS
from vcjax.generate.requests import Request
from vcjax.generate.slot_state import Chunk, SlotState, power_of_two
from vcjax.generate.slots import SlotBatch, SlotTable, free_rows
from vcjax.model.attention.paged import PAGE, POOL_AXES, check_pages
from vcjax.model.build import Params
from vcjax.parallel import replica_count

_LEAST_TOKENS = 16
"""Of a step."""


class PagedState(SlotState):
    """The slots with a cache of pages."""

    has_mixed_batches = True

    def __init__(
        self, layout: ModelLayout, slots: int, tokens: int, context: int, *, has_prefixes: bool
    ) -> None:
        """Args:
          tokens: for which the pool has room.
          context: of the longest sequence, if the pool has room for it.
          has_prefixes: whether prefixes are kept, as long as nobody else needs their pages.

        Raises:
          UserError: the devices have no kernel for pages of this model.
        """
        super().__init__(layout, slots)
        self._pages = _pages_of(tokens)
        self._context = min(context, self._pages * PAGE)
        most = _pages_of(self._context)
        check_pages(layout.config, layout.dtype, layout.mesh, slots, most)
        self._table = PageTable(slots, self._pages, most, has_prefixes=has_prefixes)
        self._zeros: dict[int, Array] = {}

    @property
    def context(self) -> int:
        return self._context

    def planned_bytes(self, context: int) -> int:
        config, mesh = self._layout.config, self._layout.mesh
        shape = self._pages, PAGE, 2 * config.num_kv_heads, config.head_dim
        copies = 1 if mesh is None else replica_count(mesh, POOL_AXES, shape)
        pool = config.num_layers * math.prod(shape) * self._layout.dtype.itemsize * copies
        return pool + 2 * 4 * self._slots * config.vocab_size  # logits and counts

    def reserve(self, slot: int, request: Request) -> bool:
        new = 0 if request.is_scored_only else request.sampling.max_tokens
        # A prompt that is scored is run whole, into pages of its own.
        prefix = self._table.find(request.prompt) if request.prompt_top is None else []
        return self._table.reserve(slot, _pages_of(len(request.prompt) + new), prefix)

    def free(self, slot: int) -> None:
        # A step that is already dispatched may still write a token there: the next owner of the
        # page overwrites it before reading it, as in a row.
        self._table.free(slot)

    def fit(self, need: int, *, empty: bool) -> None:
        """See `SlotState`; there is always room for what was reserved."""
        if self._cache is None:
            layout = self._layout
            self._cache = paged_programs.new_pages(
                layout.config, layout.mesh, pages=self._pages, dtype=layout.dtype
            )
        self._make_logits()

    @property
    def most_prefix_blocks(self) -> int:
        return self._table.most_prefix_blocks

    def prefix_blocks(self, prompt: Sequence[int]) -> int:
        return len(self._table.find(prompt))

    def reuse_prefix(self, slot: int, prompt: Sequence[int]) -> int:
        return self._table.share(slot, prompt) * PAGE

    def keep_prefix(self, slot: int, prompt: Sequence[int]) -> None:
        self._table.keep(slot, prompt)

    def forget_prefixes(self) -> None:
        self._table.forget_prefixes()

    def batch_tiles(self, wanted: int, most: int) -> int:
        return min(wanted, most)

    def step_sizes(self, most: int) -> list[int]:
        """The numbers of tokens that steps of up to so many have, the smallest first: few, as each
        is a program."""
        sizes = [_LEAST_TOKENS]
        while sizes[-1] < most:
            sizes.append(2 * sizes[-1])
        return sizes

    def width(self, chunk: Chunk) -> int:
        return len(chunk.tokens)

    def prefill(self, params: Params, chunks: Sequence[Chunk]) -> Float[Array, "padded d"]:
        columns = self._columns(chunks).view(np.uint32)
        rows = np.concatenate([free_rows(self._slots), columns], axis=1)
        rows, undrawn = self._layout.upload(rows), self._uploaded_zeros(self._slots)
        return self._run(params, undrawn, rows, 0, chunks)

    def batch(
        self, table: SlotTable, slots: int | None = None, chunks: Sequence[Chunk] = ()
    ) -> SlotBatch:
        return table.batch(slots, self._columns(chunks))

    def decode(
        self,
        params: Params,
        tokens: Int[Array, " some"],
        batch: SlotBatch,
        *,
        running: int = 0,
        chunks: Sequence[Chunk] = (),
    ) -> Float[Array, "padded d"]:
        return self._run(params, tokens, batch.rows, running, chunks)

    def _run(
        self,
        params: Params,
        drawn: Int[Array, " slots"],
        rows: Array,
        running: int,
        chunks: Sequence[Chunk],
    ) -> Float[Array, "padded d"]:
        number = sum(map(self.width, chunks))
        size = power_of_two(number + running, _LEAST_TOKENS)
        prompts = self._uploaded_zeros(size)
        if chunks:
            tokens = np.zeros((size,), np.int32)
            tokens[:number] = np.concatenate([chunk.tokens for chunk in chunks])
            prompts = self._layout.upload(tokens)
        self._cache, self._logits, hidden = paged_programs.run(
            self._layout.graph,
            self._layout.mesh,
            params,
            self._cache,
            self._logits,
            prompts=prompts,
            drawn=drawn,
            rows=rows,
        )
        return hidden

    def _columns(self, chunks: Sequence[Chunk]) -> Int[np.ndarray, "slots columns"]:
        """What a step needs of each slot beside the table: its chunk, and its pages."""
        fields = np.zeros((self._slots, len(CHUNK_FIELDS)), np.int32)
        for rank, chunk in enumerate(chunks):
            fields[chunk.slot] = rank, chunk.start, len(chunk.tokens), chunk.is_last
        return np.concatenate([fields, self._table.rows], axis=1)

    def _uploaded_zeros(self, size: int) -> jax.Array:
        """Zeros, which are uploaded once: where there are no prompts, or no drawn tokens."""
        if size not in self._zeros:
            self._zeros[size] = self._layout.upload(np.zeros((size,), np.int32))
        return self._zeros[size]


def _pages_of(tokens: int) -> int:
    return -(-tokens // PAGE)
