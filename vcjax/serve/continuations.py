"""The continuations of one HTTP request, between the event loop and the engine's thread."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from vcjax.core.seeds import derive_seed
from vcjax.generate.detokenizer import Detokenizer
from vcjax.generate.requests import Event, Request
from vcjax.generate.scheduler import RequestState
from vcjax.generate.service import Service
from vcjax.serve.errors import ApiError
from vcjax.serve.models import Loaded
from vcjax.serve.protocol import ChatRequest, CompletionRequest

TokenIds = tuple[int, ...]
MAX_SCORES = 2**18
"""Log-probabilities of prompts' tokens in one answer, those of 130,000 tokens with one alternative
each, or of 12,000 with 20; and alternatives of its new tokens, after which it ends, unless it is
streamed. Each takes about 100 bytes, and all of them are written as JSON in one go, in which no
other thread computes."""


class Submission(NamedTuple):
    """A request to the engine and the detokenizer that is its stopping criterion.

    The detokenizer belongs to the engine's thread once the request is submitted.
    """

    request: Request
    detokenizer: Detokenizer


class Update(NamedTuple):
    """One token, or the end, of one continuation, and its text that is final since the last.

    Attributes:
      seconds: since the token before; None for the first one, and for an end without a token.
    """

    index: int
    event: Event
    text: str
    seconds: float | None


class Continuations:
    """The continuations of several requests, as they come.

    A context manager: leaving it cancels those that are unfinished, which frees their slots.
    Updates that a slow reader hasn't taken yet wait here, at most `max_tokens` of each request.
    """

    def __init__(self, service: Service, submissions: Sequence[Submission]) -> None:
        self._service, self._submissions = service, submissions
        self._states: list[RequestState] = []
        # The engine's thread appends, the event loop pops. Both are atomic, so no lock is needed.
        self._updates: deque[Update] = deque()
        self._last: dict[int, float] = {}  # when each had its last token
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._left = False

    def __enter__(self) -> "Continuations":
        """Submits all requests or none.

        Raises:
          UserError: one doesn't fit the model.
          Busy: they don't fit in the queue.
          Closed: the service is closing.
        """
        try:
            for index, (request, detokenizer) in enumerate(self._submissions):
                on_event = partial(self._receive, index, detokenizer)
                self._states.append(self._service.submit(request, on_event))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._left = True  # first: cancelling reports an event for each
        for state in self._states:
            if not state.finished:
                self._service.cancel(state)

    def pooled_tokens(self, each: int) -> int:
        """Tokens of the prompts that came from the pool of prefixes, so far.

        Args:
          each: number of continuations of a prompt, of which the first one counts.
        """
        return sum(state.pooled for state in self._states[::each])

    async def __aiter__(self) -> AsyncIterator[list[Update]]:
        """Yields what is new until all have finished."""
        unfinished = len(self._submissions)
        while unfinished:
            await self._changed.wait()
            self._changed.clear()  # before reading: what is appended later sets it again
            # As many as there are now: the engine's thread may append more meanwhile.
            updates = [self._updates.popleft() for _ in range(len(self._updates))]
            unfinished -= sum(update.event.finish_reason is not None for update in updates)
            yield updates

    def _receive(self, index: int, detokenizer: Detokenizer, event: Event) -> None:
        """In the engine's thread, right after the detokenizer has accepted the token."""
        if self._left:  # the event loop may be closed by now
            return
        if event.finish_reason is None:
            text = detokenizer.take()
        else:
            # The detokenizer may be what failed, so it isn't asked for more text then.
            text = "" if event.finish_reason == "error" else detokenizer.finish()
        seconds = None
        if event.token is not None:
            now, before = time.perf_counter(), self._last.get(index)
            seconds, self._last[index] = None if before is None else now - before, now
        self._updates.append(Update(index, event, text, seconds))
        self._loop.call_soon_threadsafe(self._changed.set)


def max_new_tokens(
    wanted: int | None, *, prompt: int, context: int, server_limit: int, param: str
) -> int:
    """How many tokens an answer may have.

    Args:
      wanted: the request's own limit.
      prompt: number of tokens of the prompt.
      context: tokens of the longest sequence that is served.
      server_limit: 0 is none.
      param: the field that has the prompt.

    Raises:
      ApiError: more than the server allows, or than fit in the context.
    """
    if wanted is not None and server_limit and wanted > server_limit:
        message = f"max_tokens: this server gives at most {server_limit} tokens, not {wanted}"
        raise ApiError(400, message, param="max_tokens", code="invalid_value")
    room = context - prompt
    needed = 1 if wanted is None else wanted
    if needed > room:
        message = (
            f"{param}: a prompt of {prompt} tokens and {needed} new ones don't fit the context of "
            f"{context} that is served"
        )
        raise ApiError(400, message, param=param, code="context_length_exceeded")
    if wanted is not None:
        return wanted
    return min(room, server_limit) if server_limit else room


def check_room(loaded: Loaded, choices: int) -> None:
    """Raises an ApiError if a request has more choices than fit in slots and queue."""
    room = loaded.service.slots + loaded.service.max_waiting
    if choices > room:
        message = f"n: {choices} choices; this server takes at most {room} together"
        raise ApiError(400, message, param="n", code="invalid_value")


def count_scores(tokens: int, top: int | None, choices: int, param: str) -> int:
    """How many log-probabilities of prompts an answer has.

    Args:
      tokens: of all prompts.
      top: number of alternatives for each; None: no scores.
      choices: of each prompt, in which its scores are repeated.
      param: the field that has the prompts.

    Raises:
      ApiError: too many for the memory.
    """
    scores = 0 if top is None else tokens * (1 + top) * choices
    if scores > MAX_SCORES:
        message = (
            f"{param}: {tokens} tokens of prompts with {top} alternatives each, in {choices} "
            f"choice(s), are {scores} log-probabilities; at most {MAX_SCORES} are returned: ask "
            "for fewer prompts or alternatives at once"
        )
        raise ApiError(400, message, param=param, code="invalid_value")
    return scores


def submissions(
    loaded: Loaded,
    prompts: Sequence[TokenIds],
    limits: Sequence[int],
    body: ChatRequest | CompletionRequest,
    top_logprobs: int,
    prompt_top: int | None,
    grammar: str | None = None,
) -> list[Submission]:
    """`body.n` requests to the engine for each prompt, one prompt after the other.

    Choice i draws from a seed derived from (seed, i), as in `TextEngine.generate`.

    Args:
      limits: most new tokens of each prompt.
      prompt_top: number of alternatives for each token of a prompt, whose scores come with the
        first of its choices; None: no scores.
      grammar: that the texts must match.

    Raises:
      ApiError: more choices than fit in slots and queue.
      UserError: settings out of bounds, or a constraint that can't be compiled.
    """
    check_room(loaded, len(prompts) * body.n)
    if any(token >= loaded.vocab_size for token in body.stop_token_ids):
        message = f"stop_token_ids: one isn't in the vocabulary of {loaded.vocab_size}"
        raise ApiError(400, message, param="stop_token_ids", code="invalid_value")
    seed = body.chosen_seed()
    made: list[Submission] = []
    for prompt, limit in zip(prompts, limits, strict=True):
        for choice in range(body.n):
            number = derive_seed(seed, len(made))
            sampling = body.sampling(limit, number, top_logprobs, loaded.text.sampling_defaults)
            if grammar is not None:
                sampling = replace(sampling, grammar=grammar)
            request = loaded.text.request(
                prompt, sampling, stop_ids=body.stop_token_ids, ignore_eos=body.ignore_eos
            )
            if choice == 0:  # the prompt is scored once
                request = replace(request, prompt_top=prompt_top)
            made.append(Submission(*loaded.text.detokenized(request)))
    return made
