"""The engine: continuous batching over fixed slots. It knows token ids, not text.

Each prompt is prefilled alone in a power-of-two bucket and written into a free slot of the cache;
then all slots decode together, one token a step, and requests join and leave as slots come free.
What a row gets therefore never depends on what the other rows hold. (The longest row sets how much
of the cache is read, which moves the last bits of the others' logits.)
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vcjax.foundation.errors import UserError
from vcjax.generate.sampling import sample, unpack_mask
from vcjax.model.build import Params, abstract
from vcjax.model.config import LlamaConfig
from vcjax.model.llama import Cache, init_cache, unstack

SMALLEST_BUCKET = 128


class TokenConstraint(Protocol):
    """Says which tokens may come next; see `vcjax.generate.constraints`."""

    def mask(self) -> np.ndarray: ...

    def accept(self, token: int) -> bool: ...


@dataclass(frozen=True)
class Request:
    """Ids to continue.

    Attributes:
      prompt: token ids, at least one.
      max_tokens: bound of the continuation.
      temperature, top_k, top_p, seed: see `vcjax.generate.sampling.sample`.
      eos_ids: each of these ends the continuation and isn't part of it.
      constraint: fresh state of a constraint, used up by this request.
    """

    prompt: tuple[int, ...]
    max_tokens: int
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    eos_ids: tuple[int, ...] = ()
    constraint: TokenConstraint | None = None

    def __post_init__(self) -> None:
        checks = {
            "prompt is empty": not self.prompt,
            f"max_tokens must be at least 1, not {self.max_tokens}": self.max_tokens < 1,
            f"temperature must be at least 0, not {self.temperature}": not (
                0 <= self.temperature < math.inf
            ),
            f"top_p must be above 0 and at most 1, not {self.top_p}": not 0 < self.top_p <= 1,
            f"top_k must be at least 0, not {self.top_k}": self.top_k < 0,
            f"seed must be at least 0 and below 2**32, not {self.seed}": not (
                0 <= self.seed < 2**32
            ),
        }
        for message, wrong in checks.items():
            if wrong:
                raise UserError(message)


@dataclass(frozen=True)
class Event:
    """One token of one request, or its end.

    `token` is None where the request ended without one (an EOS id, or a constraint that is met);
    `finish_reason` is None while it goes on, then `stop` or `length`.
    """

    index: int
    token: int | None
    logprob: float
    finish_reason: str | None


@dataclass(frozen=True)
class Result:
    """A whole continuation: ids, the log-probability of each, and why it ended."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: str


@dataclass
class _Row:
    """Host side of one slot."""

    index: int
    request: Request
    length: int
    made: int = 0


@dataclass
class _Table:
    """Settings of all slots, as arrays for the device."""

    slots: int
    words: int
    temperature: np.ndarray = field(init=False)
    top_k: np.ndarray = field(init=False)
    top_p: np.ndarray = field(init=False)
    seeds: np.ndarray = field(init=False)
    steps: np.ndarray = field(init=False)
    positions: np.ndarray = field(init=False)
    mask: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        for name in ("temperature", "top_p"):
            setattr(self, name, np.zeros((self.slots,), np.float32))
        for name in ("top_k", "steps", "positions"):
            setattr(self, name, np.zeros((self.slots,), np.int32))
        self.seeds = np.zeros((self.slots,), np.uint32)
        self.mask = np.full((self.slots, self.words), 0xFFFFFFFF, np.uint32)

    def fill(self, slot: int, request: Request) -> None:
        self.temperature[slot], self.top_p[slot] = request.temperature, request.top_p
        self.top_k[slot], self.seeds[slot] = request.top_k, request.seed
        self.positions[slot], self.steps[slot] = len(request.prompt), 0
        self.constrain(slot, request)

    def constrain(self, slot: int, request: Request) -> None:
        if request.constraint is not None:
            self.mask[slot] = request.constraint.mask().view(np.uint32)
        else:
            self.mask[slot] = 0xFFFFFFFF

    def clear(self, slot: int) -> None:
        self.temperature[slot], self.positions[slot] = 0.0, 0
        self.mask[slot] = 0xFFFFFFFF

    def arrays(self) -> tuple:
        settings = (self.temperature, self.top_k, self.top_p, self.seeds, self.steps)
        return tuple(np.array(a) for a in (self.mask, *settings, self.positions))


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
        table = _Table(self.slots, (self.config.vocab_size + 31) // 32)
        waiting = deque(enumerate(requests))
        rows: dict[int, _Row] = {}
        while waiting or rows:
            for slot in range(self.slots):
                if slot in rows or not waiting:
                    continue
                index, request = waiting.popleft()
                cache = self._grown(cache, len(request.prompt) + 1)
                cache, logits = self._prefill(cache, logits, request, slot)
                table.fill(slot, request)
                rows[slot] = _Row(index, request, len(request.prompt))
            cache = self._grown(cache, max(table.positions) + 1)
            tokens, logprobs, cache, logits = _step(
                self.graph, self.params, cache, logits, *table.arrays()
            )
            tokens, logprobs = np.asarray(tokens), np.asarray(logprobs)
            for slot, row in list(rows.items()):
                event = _advance(row, int(tokens[slot]), float(logprobs[slot]))
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


def _advance(row: _Row, token: int, logprob: float) -> Event:
    """What one sampled token means for its request."""
    request = row.request
    if token in request.eos_ids:
        return Event(row.index, None, logprob, "stop")
    row.made += 1
    if request.constraint is not None and request.constraint.accept(token):
        return Event(row.index, token, logprob, "stop")
    ended = "length" if row.made == request.max_tokens else None
    return Event(row.index, token, logprob, ended)


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
