"""The engine: continuous batching over fixed slots. It knows token ids, not text.

Each prompt is prefilled alone in a power-of-two bucket and written into a free slot of the cache;
then all slots decode together, one token a step, and requests join and leave as slots come free.
What a row gets therefore never depends on what the other rows hold. (The longest row sets how much
of the cache is read, which moves the last bits of the others' logits.)
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vcjax.foundation.errors import UserError
from vcjax.generate.requests import Event, Request, Result
from vcjax.generate.sampling import sample, unpack_mask
from vcjax.generate.slots import Row, Table, advance
from vcjax.model.build import Params, abstract
from vcjax.model.config import LlamaConfig
from vcjax.model.llama import Cache, init_cache, unstack

SMALLEST_BUCKET = 128


class Engine:
    """Continues token ids with one model."""

    def __init__(
        self, config: LlamaConfig, params: Params, *, slots: int = 16, dtype: Any = jnp.float32
    ) -> None:
        """Args: `params` is stacked or not; `slots` is how many requests decode together."""
        self.config, self.slots, self.dtype = config, slots, dtype
        self.graph, _ = abstract(config, dtype=dtype, stacked=False)
        stacked = 0 not in params["layers"]
        self.params = jax.device_put(unstack(params) if stacked else params)

    def check(self, request: Request) -> None:
        """Raises a UserError if a request doesn't fit the model's context or vocabulary."""
        wanted = len(request.prompt) + request.max_tokens
        if wanted > self.config.max_position:
            raise UserError(
                f"a prompt of {len(request.prompt)} tokens and {request.max_tokens} new ones "
                f"don't fit the model's context of {self.config.max_position}"
            )
        if max(request.prompt) >= self.config.vocab_size:
            raise UserError(
                f"token {max(request.prompt)} isn't in the model's vocabulary of "
                f"{self.config.vocab_size}; tokenizer and model don't belong together"
            )

    def generate(
        self,
        requests: Sequence[Request],
        on_result: Callable[[int, Result], None] | None = None,
    ) -> list[Result]:
        """Continues all requests; results come in the order asked, `on_result` as they finish."""
        tokens: list[list[int]] = [[] for _ in requests]
        logprobs: list[list[float]] = [[] for _ in requests]
        results: list[Result | None] = [None] * len(requests)
        for event in self.events(requests):
            if event.token is not None:
                tokens[event.index].append(event.token)
                logprobs[event.index].append(event.logprob)
            if event.finish_reason is not None:
                i = event.index
                result = Result(tuple(tokens[i]), tuple(logprobs[i]), event.finish_reason)
                results[i] = result
                if on_result is not None:
                    on_result(i, result)
        return [result for result in results if result is not None]

    def events(self, requests: Sequence[Request]) -> Iterator[Event]:
        """Yields tokens as they are made, from all requests, interleaved."""
        for request in requests:
            self.check(request)
        if not requests:
            return
        cache = init_cache(self.config, self.slots, SMALLEST_BUCKET, self.dtype)
        logits = jnp.zeros((self.slots, self.config.vocab_size), jnp.float32)
        table = Table(self.slots, (self.config.vocab_size + 31) // 32)
        waiting = deque(enumerate(requests))
        rows: dict[int, Row] = {}
        while waiting or rows:
            for slot in range(self.slots):
                if slot in rows or not waiting:
                    continue
                index, request = waiting.popleft()
                cache = self._grown(cache, len(request.prompt) + 1)
                cache, logits = self._prefill(cache, logits, request, slot)
                table.fill(slot, request)
                rows[slot] = Row(index, request)
            cache = self._grown(cache, int(max(table.positions)) + 1)
            tokens, logprobs, cache, logits = _step(
                self.graph, self.params, cache, logits, *table.arrays()
            )
            tokens, logprobs = np.asarray(tokens), np.asarray(logprobs)
            for slot, row in list(rows.items()):
                event = advance(row, int(tokens[slot]), float(logprobs[slot]))
                if event.finish_reason is None:
                    table.steps[slot] += 1
                    table.positions[slot] += 1
                    if row.request.constraint is not None:
                        table.constrain(slot, row.request)
                else:
                    del rows[slot]
                    table.clear(slot)
                yield event

    def _grown(self, cache: Cache, length: int) -> Cache:
        """The cache, moved to the next bucket where a row has outgrown it.

        Every step reads the whole cache, so it is kept as small as the longest row allows.
        """
        context = cache[0][0].shape[2]
        bucket = _bucket(length, self.config.max_position)
        if bucket <= context:
            return cache
        return jax.tree.map(
            lambda leaf: jnp.pad(leaf, ((0, 0), (0, 0), (0, bucket - context), (0, 0))), cache
        )

    def _prefill(self, cache: Cache, logits: Any, request: Request, slot: int) -> tuple:
        length = len(request.prompt)
        bucket = _bucket(length, cache[0][0].shape[2])
        tokens = np.zeros((1, bucket), np.int32)
        tokens[0, :length] = request.prompt
        return _prefill(self.graph, self.params, cache, logits, tokens, length, slot)


def _bucket(length: int, largest: int) -> int:
    """The smallest power of two >= SMALLEST_BUCKET that holds `length`, at most `largest`."""
    bucket = SMALLEST_BUCKET
    while bucket < length:
        bucket *= 2
    return min(bucket, largest)


@partial(jax.jit, static_argnames=("graph",), donate_argnames=("cache", "logits"))
def _prefill(
    graph: Any, params: Params, cache: Cache, logits: Any, tokens: Any, length: Any, slot: Any
) -> tuple[Cache, Any]:
    model = nnx.merge(graph, params)
    bucket = tokens.shape[1]
    own = init_cache(model.config, 1, bucket, cache[0][0].dtype)
    hidden, own = model.extend(tokens, jnp.arange(bucket)[None], own)
    last = jax.lax.dynamic_slice_in_dim(hidden, length - 1, 1, axis=1)
    cache = jax.tree.map(
        lambda whole, part: jax.lax.dynamic_update_slice(whole, part, (slot, 0, 0, 0)), cache, own
    )
    return cache, jax.lax.dynamic_update_slice(logits, model.logits(last)[:, 0], (slot, 0))


@partial(jax.jit, static_argnames=("graph",), donate_argnames=("cache", "logits"))
def _step(
    graph: Any,
    params: Params,
    cache: Cache,
    logits: Any,
    mask: Any,
    temperature: Any,
    top_k: Any,
    top_p: Any,
    seeds: Any,
    steps: Any,
    positions: Any,
) -> tuple[Any, Any, Cache, Any]:
    """Samples a token for every slot from its logits, then runs it to get the next logits."""
    allowed = unpack_mask(mask, logits.shape[-1])
    tokens, logprobs = sample(logits, allowed, temperature, top_k, top_p, seeds, steps)
    model = nnx.merge(graph, params)
    hidden, cache = model.extend(tokens[:, None], positions[:, None], cache)
    return tokens, logprobs, cache, model.logits(hidden[:, 0])
