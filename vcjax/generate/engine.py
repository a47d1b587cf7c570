"""The engine: continuous batching over fixed slots. It knows token ids, not text.

Prompts are prefilled together, in chunks, into free slots of the cache, each behind the prefix
blocks that the pool has of it; then all slots decode together, one token a step, and requests join
and leave as slots come free. What a request gets never depends on the other slots: each token
attends to its own row's blocks, one by one, and matmuls have sizes at which a row comes out the
same to the bit, however its prompt is cut and whatever runs beside it. (The longest slot decides
how many blocks a step reads; those behind a row add zeros. On a CPU, at the sizes of real models
and with four slots or more, XLA sums them in one order at all lengths.)

In a step the devices draw a token for each slot and run it at once; meanwhile the host reads the
drawn tokens, reports them and works out which may come next.

An exception on behalf of one request (its prompt runs, its settings are entered, its constraint and
its stopping criterion receive a token, the cache is to grow for it) ends that request alone, with
the finish reason `error`; prompts that failed together run once more, each alone. One in a program
that all slots share is raised by `step`.

Sources: Yu et al., Orca, OSDI 2022 (continuous batching); Agrawal et al., arXiv 2308.16369 (chunked
prefill).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from vcjax.core.errors import UserError
from vcjax.generate.cache import BLOCK, PREFIX_TOKENS, DecodeState, buckets
from vcjax.generate.generator import Generator
from vcjax.generate.layout import ModelLayout
from vcjax.generate.paged_state import PagedState
from vcjax.generate.prefill import Prefill
from vcjax.generate.requests import (
    MAX_TOP_LOGPROBS,
    Alternatives,
    ConstraintError,
    Event,
    Request,
)
from vcjax.generate.sampling import unpack
from vcjax.generate.scheduler import RequestState, Scheduler
from vcjax.generate.slot_state import Chunk, SlotState
from vcjax.generate.warmup import warm_up_state
from vcjax.model.build import Params
from vcjax.model.config import LlamaConfig
from vcjax.model.lora import LoraConfig


@dataclass(frozen=True)
class EngineStats:
    """An engine's load now, and its counts since it was made.

    Attributes:
      decoding: number of requests that decode.
      prompt_tokens: of all requests that have started; `pooled_tokens` of them came from the pool.
    """

    slots: int
    decoding: int
    waiting: int
    steps: int
    requests: int
    prompt_tokens: int
    pooled_tokens: int
    new_tokens: int

    @classmethod
    def total(cls, each: Sequence["EngineStats"], waiting: int = 0) -> "EngineStats":
        """Of several engines together, with `waiting` requests before them."""
        names = [field.name for field in fields(cls)]
        sums = {name: sum(getattr(one, name) for one in each) for name in names}
        return cls(**{**sums, "waiting": sums["waiting"] + waiting})


class Engine(Generator):
    """Continues token ids with one model. For one thread; see `vcjax.generate.service`."""

    def __init__(
        self,
        config: LlamaConfig,
        params: Params,
        *,
        slots: int = 16,
        context: int | None = None,
        dtype: Any = jnp.float32,
        weights: str = "",
        lora: LoraConfig | None = None,
        mesh: Mesh | None = None,
        prefix_tokens: int = PREFIX_TOKENS,
        part: int = 512,
        step_tokens: int | None = None,
        row_buckets: bool = False,
        pages: bool = False,
        pool_tokens: int | None = None,
    ) -> None:
        """Puts the parameters on the devices; a program is compiled when it is first run.

        Args:
          params: the model's, stacked or not; see `vcjax.generate.layout`.
          slots: requests that decode together.
          context: tokens of the longest sequence, prompt and continuation, which bounds the cache;
            None is the model's maximum.
          dtype: of the computation and of the cache; the parameters are cast to it.
          weights: '' or 'int8', how the kernels of the projections are stored.
          lora: of adapters in `params` that stay unmerged.
          mesh: to shard model and cache over: slots over `data`, heads over `tensor`.
          prefix_tokens: tokens of prompts' prefixes that the pool keeps; 0 keeps none.
          part: most tokens of prompts that are run together.
          step_tokens: tokens of prompts that are run between two steps of decoding; None runs every
            prompt that has a slot, which is best for the throughput and bad for the latency of the
            requests that decode.
          row_buckets: decode as few slots as hold the running requests: 1, 4, 16 and so on. With
            few requests in many slots a step is shorter, but the last bits of the logits depend on
            the number of slots that decode, so a request may get other tokens than alone.
          pages: keep the cache in pages of one pool, of which each request has what it needs, and
            run prompts in one program with the drawn tokens. On TPUs, and to try it on a CPU; the
            last bits of the logits depend on what else a step runs. See
            `vcjax.generate.paged_state`.
          pool_tokens: for which all pages together have room, kept prefixes included; None is the
            context in every slot and `prefix_tokens`.

        Raises:
          UserError: `row_buckets` with slots that are sharded, or with pages; pages that the
            devices have no kernel for.
        """
        self.config, self.slots = config, slots
        self.dtype, self.weights = jnp.dtype(dtype), weights
        self.layout = ModelLayout(config, self.dtype, weights, lora, mesh)
        self.graph, self.params = self.layout.graph, self.layout.apply(params)
        if row_buckets and mesh is not None and mesh.shape.get("data", 1) > 1:
            raise UserError("row_buckets: not where the slots are sharded over several devices")
        if row_buckets and pages:
            raise UserError("row_buckets: with pages a step runs no free slots anyway")
        self._buckets = buckets(slots) if row_buckets else [slots]
        self.context = min(context or config.max_position, config.max_position)
        self._state: SlotState
        if pages:
            tokens = pool_tokens or slots * self.context + prefix_tokens
            self._state = PagedState(
                self.layout, slots, tokens, self.context, has_prefixes=prefix_tokens > 0
            )
            self.context = self._state.context
        else:
            self._state = DecodeState(self.layout, slots, prefix_tokens // BLOCK, self.context)
        self.scheduler = Scheduler(slots, config.vocab_size, self.layout.upload, self._state)
        self._prefill = Prefill(self.scheduler, self._state, part, step_tokens)
        self._steps = self._new_tokens = 0

    def load(self, params: Params) -> None:
        """Replaces the parameters by others of the same shape, such as a trainer's, without
        recompiling.

        Raises:
          UserError: they are of another shape.
          RuntimeError: requests are under way.
        """
        if not self.is_idle:
            raise RuntimeError("parameters can't change while requests are under way")
        self.params = self.layout.apply(params)
        self._state.forget_prefixes()

    def warm_up(self, longest: int, on_window: Callable[[int], None] | None = None) -> None:
        """Compiles what sequences of up to so many tokens need, within the context; programs for
        longer ones are compiled when they are first run. See `vcjax.generate.warmup`.

        Args:
          on_window: called with each length of the cache for which all programs are compiled.

        Raises:
          RuntimeError: requests are under way.
        """
        if not self.is_idle:
            raise RuntimeError("nothing can be compiled ahead while requests are under way")
        self._state.forget_prefixes()  # they are lost with the state
        windows = warm_up_state(
            self._state,
            self.params,
            self.scheduler.table,
            self._buckets,
            longest=min(longest, self.context),
            tiles=self._prefill.batch,
        )
        for window in windows:
            if on_window is not None:
                on_window(window)

    def release(self) -> None:
        """Frees the devices' memory beside the parameters, and ends all requests with an error."""
        self.scheduler.fail_all()
        self._state.release()

    @property
    def engines(self) -> tuple["Engine", ...]:
        """Itself; a `Fleet` has several."""
        return (self,)

    @property
    def is_idle(self) -> bool:
        """Whether no request waits or runs."""
        return self.scheduler.is_idle

    @property
    def planned_bytes(self) -> int:
        """Bytes beside the parameters on all devices together, with the longest sequence in every
        slot."""
        return self._state.planned_bytes(self.context)

    def check(self, request: Request) -> None:
        """Raises a UserError if the request doesn't fit the model or the context."""
        request.check(self.config, self.context)

    def stats(self) -> EngineStats:
        """Load and counts; any thread may ask."""
        return EngineStats(
            slots=self.slots,
            decoding=len(self.scheduler.decoding()),
            waiting=len(self.scheduler.waiting),
            steps=self._steps,
            requests=self._prefill.requests,
            prompt_tokens=self._prefill.prompt_tokens,
            pooled_tokens=self._prefill.pooled_tokens,
            new_tokens=self._new_tokens,
        )

    def enqueue(self, state: RequestState) -> None:
        """Lets a request wait for a slot; `step` then calls its `on_event`."""
        self.scheduler.enqueue(state)

    def cancel(self, state: RequestState) -> None:
        """Ends a request, whether it waits or runs; does nothing after its end."""
        self.scheduler.cancel(state)

    def step(self) -> bool:
        """Prefills prompts in free slots, then decodes one token in every slot; or both at once,
        where the cache can.

        Returns:
          Whether there is more to do.
        """
        self.scheduler.admit()
        if not self._fit():
            return bool(self.scheduler.waiting)
        mixed = []
        decoding = self.scheduler.decoding()
        if decoding and self._state.has_mixed_batches:
            mixed = self._prefill.mixed_chunks(len(decoding))
        else:
            self._prefill.run(self.params)
            decoding = self.scheduler.decoding()
        if decoding:
            self._decode(decoding, mixed)
        return not self.is_idle

    def _fit(self) -> bool:
        """Makes room in the cache for every slot; False if no request is left.

        If the cache can't grow, the longest request ends.
        """
        while self.scheduler.running:
            states = list(self.scheduler.running.values())
            longest = max(states, key=lambda state: state.next_length)
            is_empty = not any(state.prefilled for state in states)
            try:
                self._state.fit(longest.next_length, empty=is_empty)
            except Exception as error:  # such as out of memory
                is_long = longest.next_length > self._state.context
                if not (is_long and self._state.is_intact):
                    raise
                self.scheduler.fail(longest, error)
            else:
                return True
        return False

    def _decode(
        self, states: Sequence[RequestState], mixed: Sequence[tuple[RequestState, Chunk]]
    ) -> None:
        """Draws a token for each state and runs it, with chunks of prompts in the same batch."""
        table, chunks = self.scheduler.table, [chunk for _, chunk in mixed]
        top = MAX_TOP_LOGPROBS if table.top_logprobs.any() else 0
        # Free slots are given out from the first one, so that the running ones sit low.
        used = 1 + max(state.slot or 0 for state in states)
        size = next(size for size in self._buckets if size >= used)
        batch = self._state.batch(table, size, chunks)
        drawn_tokens, results = self._state.sample(batch, top)
        # The next step is dispatched before the host has seen this one's tokens, so the devices
        # never wait for detokenizing and constraints. The price is a step too many for a request
        # that ends here by EOS or a stop string: it writes one position of its own slot, which the
        # slot's next request overwrites before reading it.
        # The last token of a request need not be run: nothing is drawn after it.
        hidden = None
        if mixed or any(s.generated + 1 < s.request.sampling.max_tokens for s in states):
            hidden = self._state.decode(
                self.params, drawn_tokens, batch, running=len(states), chunks=chunks
            )
        self._steps += 1
        # The transfer waits for the draw alone; the devices run the tokens meanwhile.
        drawn = unpack(np.asarray(results))
        tokens, logprobs = drawn.tokens.tolist(), drawn.logprobs.tolist()
        for state in states:
            slot = state.slot
            if slot is None:  # cancelled by the listener of another request
                continue
            count = state.request.sampling.top_logprobs
            best = zip(
                drawn.top_ids[slot, :count].tolist(),
                drawn.top_logprobs[slot, :count].tolist(),
                strict=True,
            )
            event: Event | None = None
            with self.scheduler.on_behalf(state):
                event = self._advance(state, slot, tokens[slot], logprobs[slot], tuple(best))
            if event is None:
                continue
            if event.finish_reason is None:
                state.on_event(event)
            else:
                self.scheduler.finish(state, event)
        self._prefill.enter(self.params, mixed, hidden)

    def _advance(
        self, state: RequestState, slot: int, token: int, logprob: float, top: Alternatives
    ) -> Event:
        """Appends a drawn token to its request, and prepares the slot for the next one."""
        event = state.advance(token, logprob, top)
        self._new_tokens += event.token is not None
        if event.finish_reason is None:
            try:
                self.scheduler.table.advance(slot, state.request, state.generated)
            except ConstraintError:
                return replace(event, finish_reason="error", is_stuck=True)
        return event
