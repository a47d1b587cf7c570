"""The engine: continuous batching over fixed slots. It knows token ids, not text.

A prompt is prefilled alone, in parts of power-of-two lengths, into a free slot of the cache, behind
what the pool holds of its beginning; then all slots decode together, one token a step, and requests
join and leave as slots come free. What a row gets therefore never depends on what the other rows
hold. (The pool sets how a prompt is parted, which moves the last bits of the logits. So may the
longest row, which sets how much of the cache is read; on a CPU, at the sizes of real models and
with four slots or more, it doesn't.)

In a step the device draws a token for each row and runs it at once; meanwhile the host looks at
what was drawn, tells of it and works out what may come next.

What is raised on behalf of one request (its prompt runs, its settings are entered, its constraint
and its watch see a token, the cache is to grow for it) ends that request alone, with the finish
reason `error`. What is raised in a program that all rows share comes out of `step`.

Sources: Yu et al., Orca, OSDI 2022 (continuous batching); Agrawal et al., arXiv 2308.16369 (prompts
in parts).
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from vcjax.core.errors import UserError
from vcjax.generate.memory import Memory
from vcjax.generate.placing import Placing
from vcjax.generate.prefixes import BLOCK, Prefixes
from vcjax.generate.requests import MOST_TOP, Alternatives, ConstraintFault, Event, Request, Result
from vcjax.generate.slots import Table, Ticket
from vcjax.model.build import Params
from vcjax.model.config import LlamaConfig
from vcjax.model.lora import LoraConfig
from vcjax.parallel import OnMesh, ShardingRules


@dataclass(frozen=True)
class EngineStats:
    """What an engine does now, and what it has done since it was made."""

    slots: int
    decoding: int
    waiting: int
    steps: int
    requests: int
    prompt_tokens: int
    pooled_tokens: int
    new_tokens: int


class Engine:
    """Continues token ids with one model. For one thread; see `vcjax.generate.service`."""

    def __init__(
        self,
        config: LlamaConfig,
        params: Params,
        *,
        slots: int = 16,
        dtype: Any = jnp.float32,
        weights: str = "",
        lora: LoraConfig | None = None,
        mesh: Mesh | None = None,
        prefix_tokens: int = 4096,
        part: int = 512,
        step_tokens: int | None = None,
    ) -> None:
        """Args:
        params: the model's, stacked or not; see `vcjax.generate.placing`.
        slots: requests that decode together.
        dtype: of the computation and of the cache; the parameters are cast to it.
        weights: '' or 'int8', the form of the projections' kernels.
        lora: of adapters in `params` that stay unmerged.
        mesh: what model and cache lie on: slots over `data`, heads over `tensor`.
        prefix_tokens: beginnings of prompts that are kept for later ones; 0 keeps none.
        part: tokens of a prompt that are run together, at most.
        step_tokens: tokens of prompts that are run between two steps of decoding, at least one
          part; None runs all that there is a slot for, which is best for the whole and bad for
          whoever watches a row.
        """
        self.config, self.slots = config, slots
        self.dtype, self.weights = jnp.dtype(dtype), weights
        on = None if mesh is None else OnMesh(mesh, ShardingRules())
        self._placing = Placing(config, self.dtype, weights, lora, on)
        self.graph, self.params = self._placing.graph, self._placing.place(params)
        self._part, self._step_tokens = part, step_tokens
        self._prefixes = Prefixes(prefix_tokens // BLOCK)
        self._memory = Memory(self._placing, slots, self._prefixes.places)
        self._table = Table(slots, config.vocab_size)
        self._waiting: deque[Ticket] = deque()
        self._seated: dict[int, Ticket] = {}
        self._steps = self._requests = 0
        self._prompt_tokens = self._pooled_tokens = self._new_tokens = 0

    def check(self, request: Request) -> None:
        """Raises a UserError if a request doesn't fit the model's context or vocabulary."""
        wanted = len(request.prompt) + request.max_tokens
        if wanted > self.config.max_position:
            raise UserError(
                f"a prompt of {len(request.prompt)} tokens and {request.max_tokens} new ones "
                f"don't fit the model's context of {self.config.max_position}"
            )
        for token in (min(request.prompt), max(request.prompt)):
            if not 0 <= token < self.config.vocab_size:
                raise UserError(
                    f"token {token} isn't in the model's vocabulary of "
                    f"{self.config.vocab_size}; tokenizer and model don't belong together"
                )
        for token in request.logit_bias:
            if not 0 <= token < self.config.vocab_size:
                raise UserError(
                    f"logit_bias: token {token} isn't in the vocabulary of {self.config.vocab_size}"
                )

    def load(self, params: Params) -> None:
        """Takes other parameters of the same shape, such as a trainer's, without recompiling.

        Raises:
          UserError: they are of another shape.
          RuntimeError: requests are under way.
        """
        if not self.idle:
            raise RuntimeError("parameters can't change while requests are under way")
        self.params = self._placing.place(params)
        self._prefixes.clear()

    def release(self) -> None:
        """Gives back the memory that the devices hold beside the parameters.

        Ends what is under way with the finish reason `error`.
        """
        for ticket in [*self._seated.values(), *self._waiting]:
            self._end(ticket, Event(ticket.index, None, 0.0, "error"))
        self._waiting.clear()
        self._prefixes.clear()
        self._memory.release()

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return not (self._waiting or self._seated)

    def planned_bytes(self, context: int) -> int:
        """Bytes beside the parameters, with `context` tokens in every slot."""
        return self._memory.planned_bytes(min(context, self.config.max_position))

    def stats(self) -> EngineStats:
        """Counts so far."""
        return EngineStats(
            slots=self.slots,
            decoding=sum(ticket.decoding for ticket in tuple(self._seated.values())),
            waiting=len(self._waiting),
            steps=self._steps,
            requests=self._requests,
            prompt_tokens=self._prompt_tokens,
            pooled_tokens=self._pooled_tokens,
            new_tokens=self._new_tokens,
        )

    def generate(
        self,
        requests: Sequence[Request],
        on_result: Callable[[int, Result], None] | None = None,
    ) -> list[Result]:
        """Continues all requests; results come in the order asked, `on_result` as they finish."""
        made: list[list[Event]] = [[] for _ in requests]
        results: dict[int, Result] = {}
        for event in self.events(requests):
            if event.token is not None:
                made[event.index].append(event)
            if event.finish_reason is not None:
                result = _result(made[event.index], event.finish_reason)
                results[event.index] = result
                if on_result is not None:
                    on_result(event.index, result)
        return [results[index] for index in range(len(requests))]

    def events(self, requests: Sequence[Request]) -> Iterator[Event]:
        """Yields tokens as they are made, from all requests, interleaved.

        Requests that are open when the caller stops looking are cancelled. What was raised on
        behalf of one of them is raised here: they have one caller.
        """
        for request in requests:
            self.check(request)
        told: deque[Event] = deque()
        tickets = [
            self.submit(request, lambda event, i=i: told.append(replace(event, index=i)))
            for i, request in enumerate(requests)
        ]
        try:
            while not all(ticket.ended for ticket in tickets):
                self.step()
                while told:
                    event = told.popleft()
                    if event.cause is not None:
                        raise event.cause
                    yield event
        finally:
            for ticket in tickets:
                self.cancel(ticket)

    def stream(self, request: Request) -> Iterator[Event]:
        """Yields one request's tokens as they are made."""
        return self.events([request])

    def submit(self, request: Request, on_event: Callable[[Event], None]) -> Ticket:
        """Queues a request; `on_event` is told of its tokens during `step`, and must not raise.

        Raises:
          UserError: it doesn't fit the model.
        """
        self.check(request)
        ticket = Ticket(0, request, on_event)
        self.enqueue(ticket)
        return ticket

    def enqueue(self, ticket: Ticket) -> None:
        """Queues a ticket whose request has been checked."""
        if not ticket.ended:
            self._waiting.append(ticket)

    def cancel(self, ticket: Ticket) -> None:
        """Ends a request, wherever it is, and frees its slot."""
        if not ticket.ended:
            if ticket.slot is None and ticket in self._waiting:
                self._waiting.remove(ticket)
            self._end(ticket, Event(ticket.index, None, 0.0, "cancelled"))

    def fail(self, ticket: Ticket, cause: BaseException) -> None:
        """Ends a request that is under way with the finish reason `error`."""
        if not ticket.ended:
            self._end(ticket, Event(ticket.index, None, 0.0, "error", cause=cause))

    def step(self) -> bool:
        """Runs prompts into free slots, then decodes one token of every row.

        Returns whether there is more to do.
        """
        for slot in range(self.slots):
            if self._waiting and slot not in self._seated:
                ticket = self._waiting.popleft()
                ticket.slot, self._seated[slot] = slot, ticket
        if not self._fit():
            return bool(self._waiting)
        self._prefill()
        decoding = [ticket for ticket in self._seated.values() if ticket.decoding]
        if decoding:
            self._decode(decoding)
        return bool(self._seated or self._waiting)

    def _fit(self) -> bool:
        """Sees to it that the cache holds every row; False where none is left.

        Where it can't grow, the longest row ends.
        """
        while self._seated:
            rows = list(self._seated.values())
            longest = max(rows, key=_need)
            try:
                self._memory.fit(_need(longest), empty=not any(row.prefilled for row in rows))
            except Exception as error:  # such as out of memory
                if _need(longest) <= self._memory.context:
                    raise
                self.fail(longest, error)
            else:
                return True
        return False

    @contextmanager
    def _on_behalf(self, ticket: Ticket) -> Iterator[None]:
        """What is raised within ends the request, unless other rows' memory went with it."""
        try:
            yield
        except ConstraintFault:
            self._end(ticket, Event(ticket.index, None, 0.0, "error"))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic in a library of Rust's is no Exception
            if not self._memory.is_whole:
                raise
            self.fail(ticket, error)

    def _prefill(self) -> None:
        left = self._step_tokens
        for ticket in list(self._seated.values()):
            while not (ticket.decoding or ticket.ended) and (left is None or left > 0):
                with self._on_behalf(ticket):
                    done = self._prefill_part(ticket)
                    left = None if left is None else left - done

    def _prefill_part(self, ticket: Ticket) -> int:
        """Runs the next part of a prompt; the number of its tokens."""
        slot, prompt = ticket.slot, ticket.request.prompt
        assert slot is not None
        if not ticket.prefilled:
            self._requests += 1
            self._prompt_tokens += len(prompt)
            places = self._prefixes.find(prompt)
            if places:
                self._memory.recall(slot, places)
                ticket.prefilled = len(places) * BLOCK
                self._pooled_tokens += ticket.prefilled
        start = ticket.prefilled
        part = np.asarray(prompt[start : start + self._part], np.int32)
        self._memory.prefill(self.params, part, start, slot, self._part)
        ticket.prefilled += len(part)
        if ticket.decoding:
            self._seat(ticket, slot)
        return len(part)

    def _seat(self, ticket: Ticket, slot: int) -> None:
        request = ticket.request
        places = self._prefixes.add(request.prompt)
        if any(place is not None for place in places):
            try:
                self._memory.keep(slot, places)
            except BaseException:
                self._prefixes.clear()  # it names blocks that nothing was copied to
                raise
        self._table.seat(slot, request)
        if _is_penalised(request):
            self._memory.enter(np.asarray(request.prompt, np.int32), slot)

    def _decode(self, rows: Sequence[Ticket]) -> None:
        table = self._table
        drawn = self._memory.draw(table.settings(), MOST_TOP if table.top.any() else 0)
        if any(row.made + 1 < row.request.max_tokens for row in rows):
            self._memory.extend(self.params, drawn.tokens, table.positions.copy())
        self._steps += 1
        tokens, logprobs = np.asarray(drawn.tokens).tolist(), np.asarray(drawn.logprobs).tolist()
        top_ids, top_logprobs = np.asarray(drawn.top_ids), np.asarray(drawn.top_logprobs)
        for row in rows:
            slot = row.slot
            if slot is None:  # cancelled by another row's listener
                continue
            count = row.request.top_logprobs
            ids, scores = top_ids[slot, :count].tolist(), top_logprobs[slot, :count].tolist()
            top = tuple(zip(ids, scores, strict=True))
            event: Event | None = None
            with self._on_behalf(row):
                event = self._advance(row, slot, tokens[slot], logprobs[slot], top)
            if event is None:
                continue
            if event.finish_reason is None:
                row.on_event(event)
            else:
                self._end(row, event)

    def _advance(
        self, row: Ticket, slot: int, token: int, logprob: float, top: Alternatives
    ) -> Event:
        """What a drawn token means for its row, which is made ready for the next one."""
        event = row.advance(token, logprob, top)
        self._new_tokens += event.token is not None
        if event.finish_reason is None:
            self._table.steps[slot] += 1
            self._table.positions[slot] += 1
            try:
                self._table.constrain(slot, row.request, row.made)
            except ConstraintFault:
                return replace(event, finish_reason="error")
        return event

    def _end(self, ticket: Ticket, event: Event) -> None:
        """Frees a request's slot and tells its end."""
        if ticket.slot is not None:
            del self._seated[ticket.slot]
            self._table.clear(ticket.slot)
        ticket.slot, ticket.ended = None, True
        ticket.on_event(event)


def _need(ticket: Ticket) -> int:
    """Tokens that a row must hold in the next step."""
    return len(ticket.request.prompt) + ticket.made + 1


def _is_penalised(request: Request) -> bool:
    return (
        request.repetition_penalty != 1
        or request.presence_penalty != 0
        or request.frequency_penalty != 0
    )


def _result(events: Sequence[Event], finish_reason: str) -> Result:
    return Result(
        tuple(event.token for event in events if event.token is not None),
        tuple(event.logprob for event in events),
        finish_reason,
        tuple(event.top for event in events),
    )
