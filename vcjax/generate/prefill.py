"""Prefill: the prompts of requests that have a slot are run into the cache, in chunks.

Chunks of several prompts are run together, each behind the prefix that the pool has of its prompt.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vcjax.generate.prefixes import shared_blocks
from vcjax.generate.requests import Event, Request
from vcjax.generate.scheduler import RequestState, Scheduler
from vcjax.generate.slot_state import TILE, Chunk, SlotState, tiles_of
from vcjax.model.build import Params


class Prefill:
    """Runs prompts between two steps of decoding.

    Attributes:
      batch: tiles of the largest batch of chunks.
      requests: number of those that have started; `prompt_tokens` is the number of their prompts'
        tokens, of which `pooled_tokens` came from the pool.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        state: SlotState,
        part: int,
        step_tokens: int | None,
    ) -> None:
        """Args: `part` and `step_tokens` are those of `vcjax.generate.engine.Engine`."""
        self._scheduler, self._state = scheduler, state
        self.batch = max(1, part // TILE)
        self._step = None if step_tokens is None else max(1, step_tokens // TILE)
        self.requests = self.prompt_tokens = self.pooled_tokens = 0

    def run(self, params: Params) -> None:
        """Runs what a step may run of the prompts."""
        left = self._step
        while left is None or left > 0:
            chunks = self._next_chunks(self.batch if left is None else min(left, self.batch))
            if not chunks:
                return
            if left is not None:
                left -= sum(chunk.tiles for _, chunk in chunks)
            self._run_chunks(params, chunks)

    def mixed_chunks(self, decoding: int) -> list[tuple[RequestState, Chunk]]:
        """What a step of so many decoding slots may run of the prompts in one batch with them."""
        room = max(1, self.batch - tiles_of(decoding))
        return self._next_chunks(room if self._step is None else min(room, self._step))

    def _next_chunks(self, most: int) -> list[tuple[RequestState, Chunk]]:
        """What comes next of the prompts, `most` tiles of them.

        In the order of admission, and each to its end: the first token of the oldest comes first.
        """
        ready: list[RequestState] = []
        # A copy, since a request that fails leaves `running`.
        for state in list(self._scheduler.running.values()):
            if not state.is_decoding and (state.prefilled or self._starts(state, ready)):
                ready.append(state)
        lengths = [len(state.request.prompt) - state.prefilled for state in ready]
        left = self._state.batch_tiles(sum(map(tiles_of, lengths)), most)
        chunks = []
        for state, length in zip(ready, lengths, strict=True):
            if left and (slot := state.slot) is not None:
                start, own = state.prefilled, min(length, left * TILE)
                tokens = state.request.prompt[start : start + own]
                chunks.append((state, Chunk(slot, start, tokens, own == length)))
                left -= tiles_of(own)
        return chunks

    def _starts(self, state: RequestState, before: Sequence[RequestState]) -> bool:
        """Loads what the pool has of a new prompt; False if it should wait, or has failed.

        Args:
          before: requests whose prompts are under way. The pool will have what a prompt shares
            with theirs.
        """
        prompt, slot = state.request.prompt, state.slot
        assert slot is not None
        # A prompt that is scored is run whole: the pool has no scores.
        if state.request.prompt_top is None and (most := self._state.most_prefix_blocks):
            kept = self._state.prefix_blocks(prompt)
            coming = (
                shared_blocks(prompt, other.request.prompt)
                for other in before
                if not other.request.is_scored_only  # of these the pool gets nothing
            )
            # No more than the pool can have: for the rest a prompt would wait in vain.
            if min(max(coming, default=0), most) > kept:
                return False
            if kept:
                with self._scheduler.on_behalf(state):
                    state.prefilled = state.pooled = self._state.reuse_prefix(slot, prompt)
                    self.pooled_tokens += state.pooled
        return not state.finished

    def _run_chunks(self, params: Params, chunks: Sequence[tuple[RequestState, Chunk]]) -> None:
        if len(chunks) == 1:
            state, chunk = chunks[0]
            with self._scheduler.on_behalf(state):
                hidden = self._state.prefill(params, [chunk])
                self._after_chunk(params, state, chunk, hidden, 0)
            return
        try:
            hidden = self._state.prefill(params, [chunk for _, chunk in chunks])
        except Exception:  # such as out of memory
            if not self._state.is_intact:
                raise
            for each in chunks:
                self._run_chunks(params, [each])
            return
        self.enter(params, chunks, hidden)

    def enter(
        self, params: Params, chunks: Sequence[tuple[RequestState, Chunk]], hidden: Any
    ) -> None:
        """Enters that chunks have been run together, and have these hidden states."""
        first = 0
        for state, chunk in chunks:
            if not state.finished:  # not cancelled by the listener of another request
                with self._scheduler.on_behalf(state):
                    self._after_chunk(params, state, chunk, hidden, first)
            first += self._state.width(chunk)

    def _after_chunk(
        self, params: Params, state: RequestState, chunk: Chunk, hidden: Any, first: int
    ) -> None:
        """Enters that a chunk has been run, whose hidden states begin at the index `first`."""
        request = state.request
        if state.prefilled == state.pooled:  # its first chunk
            self.requests += 1
            self.prompt_tokens += len(request.prompt)
        state.prefilled += len(chunk.tokens)
        if request.prompt_top is not None:
            after = request.prompt[chunk.start + 1 : state.prefilled + 1]
            targets = np.asarray(after, np.int32)
            scored = self._state.score(params, hidden, first, targets, request.prompt_top)
            state.scored.append(scored)
        if state.is_decoding and request.is_scored_only:
            end = Event(state.index, None, 0.0, "length", prompt=state.prompt_scores())
            self._scheduler.finish(state, end)
        elif state.is_decoding:
            self._start_decoding(request, chunk.slot)

    def _start_decoding(self, request: Request, slot: int) -> None:
        self._state.keep_prefix(slot, request.prompt)
        self._scheduler.table.start(slot, request)
        if request.sampling.is_penalised:
            self._state.count_prompt(np.asarray(request.prompt, np.int32), slot)
