"""A role played by a model on the local engine."""

import time
from collections.abc import Callable, Sequence

from vcjax.generate.likelihood import score_answers
from vcjax.generate.model_pool import ModelPool
from vcjax.generate.requests import Request, Result, SamplingParams
from vcjax.generate.text import TextEngine, encode_prompt
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
    """A model on this machine's devices. Several roles may share one."""

    def __init__(self, pool: ModelPool, reference: str, *, family: str) -> None:
        """Loads the model, unless it is in the pool.

        Args:
          family: declared by the caller, e.g. `smollm2`.

        Raises:
          UserError: no such model, or one that doesn't fit the pool.
        """
        self.family, self._pool, self._reference = family, pool, reference
        self.origin = pool.get(reference).origin

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
        text = self.text
        replies: dict[int, Reply] = {}
        requests: dict[int, Request] = {}
        last_finish = time.monotonic()

        def record(index: int, reply: Reply) -> None:
            replies[index] = reply
            if on_reply is not None:
                on_reply(index, reply)

        def on_finish(position: int, result: Result) -> None:
            nonlocal last_finish
            index, now = indices[position], time.monotonic()
            # Since the last one finished: all decode together, and each one's own span would count
            # the same seconds many times.
            seconds, last_finish = now - last_finish, now
            record(index, self._reply(text, asks[index], requests[index], result, seconds))

        # The engine rejects a whole batch in which one request doesn't fit, so these are left out.
        context = text.engine.config.max_position
        for index, ask in enumerate(asks):
            length = len(encode_prompt(text.tokenizer, ask.messages))
            if length + ask.max_tokens > context:
                record(index, self._too_long(ask, length, context))
            else:
                requests[index] = text.request(ask.messages, _sampling(ask))
        indices = list(requests)
        text.engine.generate(list(requests.values()), on_finish)
        return [replies[index] for index in range(len(asks))]

    def log_likelihoods(
        self,
        asks: Sequence[LikelihoodAsk],
        on_scored: Callable[[int, LogProbs], None] | None = None,
    ) -> list[LogProbs]:
        """Scores all answers, each conversation run once; see `ScoringRole.log_likelihoods`.

        Raises:
          UserError: an answer that is empty or doesn't fit the model's context.
        """
        text = self.text

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
            on_scored=received,
        )
        return [tuple(totals) for totals in scores]

    def _too_long(self, ask: Ask, length: int, context: int) -> Reply:
        detail = f"{length} tokens and {ask.max_tokens} new ones, of a context of {context}"
        return Reply.failed(TOO_LONG, detail, prompt_tokens=length, model=self.origin.hash)

    def _reply(
        self, text: TextEngine, ask: Ask, request: Request, result: Result, seconds: float
    ) -> Reply:
        known = {
            "prompt_tokens": len(request.prompt),
            "tokens": len(result.tokens),
            "model": self.origin.hash,
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
