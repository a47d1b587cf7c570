"""`/v1/completions`, OpenAI's older API: texts or token ids to continue, or to score."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vcjax.generate.requests import Event
from vcjax.generate.text import encode_prompt
from vcjax.serve.asking import ask, new_tokens
from vcjax.serve.choices import Choice, Job
from vcjax.serve.config import ServeConfig
from vcjax.serve.errors import ApiError
from vcjax.serve.fields import CompletionRequest
from vcjax.serve.logprobs import TextLogprobs, event_entries, prompt_entries
from vcjax.serve.models import Loaded, Served

DEFAULT_TOKENS = 16
"""New tokens of a request that names no bound, as in OpenAI's API."""


@dataclass(frozen=True)
class _Prompt:
    ids: tuple[int, ...]
    text: str


def completion_job(body: CompletionRequest, served: Served, config: ServeConfig) -> Job:
    """What a completion asks of the engine.

    Raises:
      ApiError: the model isn't ready, or a prompt doesn't fit its context.
      UserError: settings out of bounds, or a token that isn't in the vocabulary.
    """
    loaded = served.ready()
    tokenizer = loaded.text.tokenizer
    prompts = []
    for prompt in body.prompt:
        ids = encode_prompt(tokenizer, prompt)
        if not ids or max(ids) >= loaded.vocab_size:
            what = "is empty" if not ids else f"has a token that isn't one of {loaded.vocab_size}"
            raise ApiError(400, f"prompt: {what}", param="prompt", code="invalid_value")
        text = prompt if isinstance(prompt, str) else tokenizer.decode(ids) if body.echo else ""
        prompts.append(_Prompt(ids, text))
    wanted = DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens
    bounds = [
        new_tokens(wanted, len(prompt.ids), loaded.context, config.max_tokens, "prompt")
        for prompt in prompts
    ]
    is_scored_only = wanted == 0 and body.echo
    ids = [prompt.ids for prompt in prompts]
    return Job(
        name=served.name,
        loaded=loaded,
        asked=() if is_scored_only else ask(loaded, ids, bounds, body, body.logprobs or 0),
        count=len(prompts) * body.n,
        format=CompletionFormat(loaded, body, prompts),
        stream=body.stream,
        include_usage=body.include_usage,
        prompt_tokens=sum(map(len, ids)),
    )


class CompletionFormat:
    """Texts; with `echo` behind their prompts."""

    kind, chunk_kind, prefix = "text_completion", "text_completion", "cmpl"

    def __init__(self, loaded: Loaded, body: CompletionRequest, prompts: Sequence[_Prompt]) -> None:
        self._loaded, self._body, self._prompts = loaded, body, prompts
        self._echoed: list[dict[str, Any] | None] = [None] * len(prompts)
        self._logprobs: dict[int, TextLogprobs] = {}

    async def prepare(self) -> None:
        """Scores the prompts, where they are echoed with log-probabilities."""
        count = self._body.logprobs
        if not self._body.echo or count is None:
            return
        ids = [prompt.ids for prompt in self._prompts]
        scores = [self._loaded.scorer.score(each, max(count, 1)) for each in ids if len(each) > 1]
        results = iter(await asyncio.gather(*scores))
        for number, each in enumerate(ids):
            entries = prompt_entries(each, next(results) if len(each) > 1 else None)
            told = TextLogprobs(self._loaded.text, count)
            self._echoed[number] = await asyncio.to_thread(told.of, entries)

    def whole(self, index: int, choice: Choice) -> dict[str, Any]:
        """See `Format`."""
        first = self.opening(index)
        told = self._told(index, choice.events)
        text = choice.text
        if first is not None:
            text = first["text"] + text
            if told is not None:
                told = _joined(first["logprobs"], told)
        return _choice(index, text, told, choice.finish_reason)

    def opening(self, index: int) -> dict[str, Any] | None:
        """The prompt, where it is echoed."""
        if not self._body.echo:
            return None
        number = index // self._body.n
        return _choice(index, self._prompts[number].text, self._echoed[number])

    def piece(self, index: int, text: str, events: Sequence[Event]) -> dict[str, Any] | None:
        """See `Format`."""
        told = self._told(index, events)
        if not text and not (told and told["tokens"]):
            return None
        return _choice(index, text, told)

    def closing(self, index: int, finish_reason: str) -> dict[str, Any]:
        """See `Format`."""
        return _choice(index, "", None, finish_reason)

    def _told(self, index: int, events: Sequence[Event]) -> dict[str, Any] | None:
        count = self._body.logprobs
        if count is None:
            return None
        if index not in self._logprobs:
            start = len(self._prompts[index // self._body.n].text) if self._body.echo else 0
            self._logprobs[index] = TextLogprobs(self._loaded.text, count, start)
        return self._logprobs[index].of(event_entries(events))


def _choice(
    index: int, text: str, logprobs: dict[str, Any] | None, finish_reason: str | None = None
) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}


def _joined(first: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    return {name: None if first[name] is None else first[name] + then[name] for name in first}
