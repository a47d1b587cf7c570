"""Compiling ahead: each program that requests may need is run once, so that nobody waits for it.

Of an engine, for each window of its cache (`DecodeState.window`: 128, 192, 256, 384 and so on):

    decode          1, with the model; with row buckets 1 for each number of slots
    prefill         1 for each size of a batch of prompts, usually 2, 4, 8, 16 tiles; with the model
    store and load  1 for each number of a prefix's blocks: 1, 4, 16 and so on
    resize          1 or 2, as keys and values differ in shape, to each window that may follow

and once for all windows: the draws, the counts of a prompt and the scores of a chunk. The 11
windows that reach to 4,096 tokens have 55 programs with the model in them and some 200 small ones.
With a cache of pages there is 1 program with the model for each number of tokens that a step has,
16, 32, 64 and so on, whatever the sequences' lengths.

Of texts that are scored together: 1 for each length and number of rows, with the model, without
shared prefixes and with; 16 within 512 tokens.

The rest is compiled when it is needed: what longer sequences need, and larger batches of texts.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Array

from vcjax.generate.cache import DecodeState
from vcjax.generate.paged_state import PagedState
from vcjax.generate.requests import MAX_TOP_LOGPROBS
from vcjax.generate.scoring import computed_top, score_batch
from vcjax.generate.slot_state import TILE, Chunk, SlotState
from vcjax.generate.slots import SlotBatch, SlotTable
from vcjax.generate.token_trees import Batch, Path, Row, padded_length, row_counts
from vcjax.model.build import Params
from vcjax.model.config import LlamaConfig


def warm_up_state(
    state: SlotState,
    params: Params,
    table: SlotTable,
    sizes: Sequence[int],
    *,
    longest: int,
    tiles: int,
) -> Iterator[int]:
    """Compiles an engine's programs, and yields each length of sequences once it has its own.

    Args:
      state: its contents are lost.
      table: of free slots.
      sizes: the numbers of slots that decode together.
      longest: tokens of the longest sequence.
      tiles: of the largest batch of prompts.
    """
    if isinstance(state, PagedState):
        _warm_up_pages(state, params, table, tiles)
        yield longest
    else:
        assert isinstance(state, DecodeState)
        batches = [state.batch(table, size) for size in sizes]
        yield from _warm_up_rows(state, params, batches, longest, tiles)
    state.release()


def _warm_up_rows(
    state: DecodeState, params: Params, batches: Sequence[SlotBatch], longest: int, tiles: int
) -> Iterator[int]:
    windows = state.windows(longest)
    for window in windows:
        state.fit(window, empty=True)
        is_first = window == windows[0]
        for size in state.batch_sizes(tiles):
            hidden = state.prefill(params, [Chunk(0, 0, (0,) * (size * TILE), True)])
            if is_first:  # hidden states have no window
                _warm_up_scores(state, params, hidden)
        if is_first:
            state.count_prompt(np.zeros((1,), np.int32), 0)
            for batch in batches:
                state.sample(batch, MAX_TOP_LOGPROBS)
        for batch in batches:
            drawn_tokens, _ = state.sample(batch, 0)
            state.decode(params, drawn_tokens, batch)
        for blocks in state.prefix_sizes if state.most_prefix_blocks else ():
            state.store_prefix(0, [None] * blocks)
            state.load_prefix(0, [0] * blocks)
        state.compile_resizes(windows)
        yield window


def _warm_up_pages(state: PagedState, params: Params, table: SlotTable, tiles: int) -> None:
    state.fit(1, empty=True)
    slots = table.slots
    for size in state.step_sizes(max(tiles * TILE, slots + TILE)):
        own = -(-size // slots)
        chunks = [Chunk(slot, 0, (0,) * own, True) for slot in range(size // own)]
        _warm_up_scores(state, params, state.prefill(params, chunks))
        batch = state.batch(table, chunks=chunks)
        for top in (MAX_TOP_LOGPROBS, 0):
            drawn_tokens, _ = state.sample(batch, top)
        state.decode(params, drawn_tokens, batch, chunks=chunks)
    state.count_prompt(np.zeros((1,), np.int32), 0)


def _warm_up_scores(state: SlotState, params: Params, hidden: Array) -> None:
    for top in (0, MAX_TOP_LOGPROBS):
        state.score(params, hidden, 0, np.zeros((1,), np.int32), top)


def warm_up_scoring(graph: Any, config: LlamaConfig, params: Params, tokens: int) -> None:
    """Compiles what `vcjax.generate.scoring.score` runs with alternatives, within a budget of so
    many tokens and for texts that fit in it."""
    lengths = {padded_length(length, config.max_position) for length in range(1, tokens)}
    for length in sorted(each for each in lengths if each <= tokens):
        row = Row(length, length)
        row.add(Path(0, (0,), (0,), 0))
        for count in row_counts(length, tokens):
            arrays = Batch((row,), count).arrays()
            for is_tree in (False, True):
                top = computed_top(1, config.vocab_size)
                score_batch(graph, params, *arrays, top=top, is_tree=is_tree)
