"""A role played by a model on the local engine."""

import copy
import time
from collections.abc import Callable, Sequence
from typing import Self

from vcjax.generate.engine import Engine
from vcjax.generate.requests import Request, Result
from vcjax.generate.text import Sampling, TextEngine, encode_prompt
from vcjax.roles.alternatives import number_alternatives
from vcjax.roles.role import TOO_LONG, Alternatives, Ask, Reply
from vcjax.weights.bundle import Bundle

ENGINE_ERROR = "engine error"
"""Outcome of an ask that the engine gave up, such as one whose JSON schema can't be met."""


class LocalRole:
    """One model that answers on this machine's devices. Several roles may share one."""

    def __init__(self, bundle: Bundle, *, family: str, slots: int = 16) -> None:
        """Args: `family` is declared by the caller, e.g. `smollm2`."""
        self.family, self.model = family, bundle.origin.reference
        self.text = TextEngine(bundle, Engine(bundle.config, bundle.params, slots=slots))
        self._hash = bundle.origin.hash

    def as_family(self, family: str) -> Self:
        """A role played by the same engine, declared as of another family."""
        other = copy.copy(self)
        other.family = family
        return other

    def ask(
        self, asks: Sequence[Ask], on_reply: Callable[[int, Reply], None] | None = None
    ) -> list[Reply]:
        """Answers all asks in one batch; see `Role.ask`. One that is too long is told at once."""
        replies: dict[int, Reply] = {}
        requests: dict[int, Request] = {}
        last = time.monotonic()

        def told(index: int, reply: Reply) -> None:
            replies[index] = reply
            if on_reply is not None:
                on_reply(index, reply)

        def finished(place: int, result: Result) -> None:
            nonlocal last
            index, now = places[place], time.monotonic()
            told(index, self._reply(asks[index], requests[index], result, now - last))
            last = now

        for index, ask in enumerate(asks):
            length = len(encode_prompt(self.text.tokenizer, ask.messages))
            if length + ask.max_tokens > self.text.engine.config.max_position:
                told(index, self._too_long(ask, length))
            else:
                requests[index] = self.text.request(ask.messages, _sampling(ask))
        places = list(requests)
        self.text.engine.generate(list(requests.values()), finished)
        return [replies[index] for index in range(len(asks))]

    def _too_long(self, ask: Ask, length: int) -> Reply:
        context = self.text.engine.config.max_position
        detail = f"{length} tokens and {ask.max_tokens} new ones, of a context of {context}"
        return Reply.failed(TOO_LONG, detail, prompt_tokens=length, model=self._hash)

    def _reply(self, ask: Ask, request: Request, result: Result, seconds: float) -> Reply:
        known = {
            "prompt_tokens": len(request.prompt),
            "tokens": len(result.tokens),
            "model": self._hash,
            "seconds": seconds,
        }
        if result.finish_reason not in ("stop", "length"):
            return Reply.failed(ENGINE_ERROR, f"it ended by {result.finish_reason!r}", **known)
        text = self.text.text(request, result).strip()
        alternatives = self._alternatives(ask, result)
        return Reply(text, result.finish_reason, alternatives=alternatives, **known)

    def _alternatives(self, ask: Ask, result: Result) -> tuple[Alternatives, ...]:
        if not ask.top_logprobs or ask.json_schema is None:
            return ()
        decode = self.text.tokenizer.decode
        tops = [tuple((decode([id]), logprob) for id, logprob in top) for top in result.top]
        return number_alternatives([decode([id]) for id in result.tokens], tops)


def _sampling(ask: Ask) -> Sampling:
    return Sampling(
        max_tokens=ask.max_tokens,
        temperature=ask.temperature,
        top_p=ask.top_p,
        seed=ask.seed,
        json_schema=ask.json_schema,
        top_logprobs=ask.top_logprobs,
    )
