"""A role played by a model on the local engine."""

import heapq
import time
from collections.abc import Callable, Sequence

from vcjax.core.progress import TOKENS
from vcjax.generate.likelihood import score_answers
from vcjax.generate.model_pool import ModelPool
from vcjax.generate.requests import Event, Request, Result, SamplingParams
from vcjax.generate.scheduler import RequestState
from vcjax.generate.text import TextEngine, encode_prompt
from vcjax.roles.asking import Emit, End, Order, ask_all
from vcjax.roles.role import (
    TOO_LONG,
    Alternatives,
    Ask,
    LikelihoodAsk,
    LogProbs,
    Reply,
    number_alternatives,
)

ENGINE_ERROR = "engine error"
"""Outcome of an ask that the engine ended, such as one whose JSON schema can't be satisfied."""


class LocalRole:
    """A model on this machine's devices. Several roles may share one.

    Attributes:
      context: tokens of the longest ask with its reply; it may be lowered to less than the engine
        has room for.
    """

    def __init__(self, pool: ModelPool, reference: str, *, family: str) -> None:
        """Loads the model, unless it is in the pool.

        Args:
          family: declared by the caller, e.g. `smollm2`.

        Raises:
          UserError: no such model, or one that doesn't fit the pool.
        """
        self.family, self._pool, self._reference = family, pool, reference
        loaded = pool.get(reference)
        engine = loaded.text.engine
        self.origin, self.slots, self.context = loaded.origin, engine.slots, engine.context

    @property
    def model(self) -> str:
        """The model reference; a hub id with its commit."""
        return self.origin.reference

    @property
    def identity(self) -> str:
        """The content hash of the model; see `Role.identity`."""
        return self.origin.hash

    @property
    def text(self) -> TextEngine:
        """The model's engine. The pool may have released it for another model since the last call;
        then it is loaded again."""
        return self._pool.get(self._reference).text

    def ask(
        self, asks: Sequence[Ask], on_reply: Callable[[int, Reply], None] | None = None
    ) -> list[Reply]:
        """Answers all asks in one batch; see `Role.ask`. Those that are too long fail at once."""
        return ask_all(self, asks, on_reply)

    def asking(self, emit: Emit) -> "LocalAsking":
        """Takes asks at any time; see `StreamingRole`."""
        return LocalAsking(self, emit)

    def log_likelihoods(
        self,
        asks: Sequence[LikelihoodAsk],
        on_scored: Callable[[int, LogProbs], None] | None = None,
    ) -> list[LogProbs]:
        """Scores all answers, each conversation run once; see `ScoringRole.log_likelihoods`.

        Raises:
          UserError: an answer that is empty or doesn't fit the context.
        """
        text = self.text
        _, *others = text.engine.engines

        def received(index: int, totals: list[float]) -> None:
            if on_scored is not None:
                on_scored(index, tuple(totals))

        scores = score_answers(
            text.engine.graph,
            text.engine.params,
            text.tokenizer,
            [ask.messages for ask in asks],
            [ask.answers for ask in asks],
            names=[repr(ask.key) for ask in asks],
            context=text.engine.context,
            on_scored=received,
            copies=[engine.params for engine in others],
        )
        return [tuple(totals) for totals in scores]


class LocalAsking:
    """The asks that are under way on a local engine; see `Asking`. A piece of its work is one step
    of the engine, which the asks that wait join as slots come free."""

    def __init__(self, role: LocalRole, emit: Emit) -> None:
        self._role, self._emit = role, emit
        self.slots = role.slots
        self._waiting: list[tuple[Order, int, Ask]] = []
        self._open: dict[int, RequestState] = {}
        self._causes: list[BaseException] = []
        self._text: TextEngine | None = None
        self._last_finish = 0.0
        self._stopped = False

    def add(self, index: int, ask: Ask, order: Order) -> None:
        heapq.heappush(self._waiting, (order, index, ask))
        TOKENS.asked += ask.max_tokens

    def work(self) -> bool:
        if not (self._waiting or self._open):
            return False
        if self._text is None:
            # Not kept while nothing is under way: the pool may release it for another model.
            self._text, self._last_finish = self._role.text, time.monotonic()
        engine = self._text.engine
        while self._waiting and len(self._open) < engine.slots:
            _, index, ask = heapq.heappop(self._waiting)
            self._begin(self._text, index, ask)
        if self._open:
            engine.step()
        if self._causes:
            raise self._causes[0]
        if not self._open:
            self._text = None
        return True

    def stop(self) -> None:
        self.cancel()
        if not self._stopped:
            self._stopped = True
            self._emit(End())

    def cancel(self) -> None:
        self._waiting.clear()
        if self._text is not None:
            for state in self._open.values():
                self._text.engine.cancel(state)
        self._open.clear()
        self._text = None

    def _begin(self, text: TextEngine, index: int, ask: Ask) -> None:
        # The engine rejects a request that doesn't fit, so this one isn't given to it.
        context = min(self._role.context, text.engine.context)
        length = len(encode_prompt(text.tokenizer, ask.messages))
        if length + ask.max_tokens > context:
            detail = f"{length} tokens and {ask.max_tokens} new ones, of a context of {context}"
            TOKENS.asked -= ask.max_tokens
            known = {"prompt_tokens": length, "model": self._role.origin.hash}
            self._emit((index, Reply.failed(TOO_LONG, detail, **known)))
            return
        request = text.request(ask.messages, _sampling(ask))
        made: list[Event] = []

        def on_event(event: Event) -> None:
            if event.token is not None:
                made.append(event)
                TOKENS.written += 1
            if event.cause is not None:
                # Not here, where the engine would take it for the end of this request alone.
                self._causes.append(event.cause)
            elif event.finish_reason not in (None, "cancelled"):
                del self._open[index]
                TOKENS.asked -= ask.max_tokens - len(made)
                result = Result.of(made, event.finish_reason)
                self._emit((index, self._reply(text, ask, request, result)))

        state = RequestState(index, request, on_event)
        self._open[index] = state
        text.engine.enqueue(state)

    def _reply(self, text: TextEngine, ask: Ask, request: Request, result: Result) -> Reply:
        # Since the last one finished: all decode together, and each one's own span would count the
        # same seconds many times.
        now = time.monotonic()
        seconds, self._last_finish = now - self._last_finish, now
        known = {
            "prompt_tokens": len(request.prompt),
            "tokens": len(result.tokens),
            "model": self._role.origin.hash,
            "seconds": seconds,
        }
        if result.finish_reason not in ("stop", "length"):
            return Reply.failed(ENGINE_ERROR, f"finish reason {result.finish_reason!r}", **known)
        content = text.text(request, result).strip()
        alternatives = _alternatives(text, ask, result)
        return Reply(content, result.finish_reason, alternatives=alternatives, **known)


def _alternatives(text: TextEngine, ask: Ask, result: Result) -> tuple[Alternatives, ...]:
    if not ask.top_logprobs or ask.json_schema is None:
        return ()
    decode = text.tokenizer.decode
    tops = [tuple((decode([id]), logprob) for id, logprob in top) for top in result.top]
    chosen = zip(result.tokens, result.logprobs, strict=True)
    return number_alternatives([(decode([id]), logprob) for id, logprob in chosen], tops)


def _sampling(ask: Ask) -> SamplingParams:
    return SamplingParams(
        max_tokens=ask.max_tokens,
        temperature=ask.temperature,
        top_p=ask.top_p,
        seed=ask.seed,
        json_schema=ask.json_schema,
        top_logprobs=ask.top_logprobs,
    )
