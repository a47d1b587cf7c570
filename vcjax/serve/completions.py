"""`/v1/completions`, OpenAI's older API: texts or token ids to continue, or to score."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vcjax.generate.detokenizer import Detokenizer
from vcjax.generate.requests import Alternatives, Event, Scored
from vcjax.generate.text import TextEngine, encode_prompt
from vcjax.serve.answers import Choice, Job
from vcjax.serve.config import ServeConfig
from vcjax.serve.continuations import (
    check_room,
    count_scores,
    max_new_tokens,
    submissions,
)
from vcjax.serve.errors import ApiError
from vcjax.serve.models import Loaded, Served
from vcjax.serve.prompt_logprobs import PromptLogprobs, prompt_logprobs
from vcjax.serve.protocol import MIN_LOGPROB, CompletionRequest

DEFAULT_TOKENS = 16
"""New tokens of a request that gives no limit, as in OpenAI's API."""

Entry = tuple[int, float | None, Alternatives]
"""A token, its log-probability (a text's first token has none) and its alternatives."""


@dataclass(frozen=True)
class _Prompt:
    ids: tuple[int, ...]
    text: str


def completion_job(body: CompletionRequest, served: Served, config: ServeConfig) -> Job:
    """The job of a completion request.

    Raises:
      ApiError: the model isn't ready, or a prompt doesn't fit its context.
      UserError: settings out of bounds, or a token that isn't in the vocabulary.
    """
    loaded = served.ready()
    check_room(loaded, len(body.prompt) * body.n)  # before their encoding, which takes longer
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
    limits = [
        max_new_tokens(
            wanted,
            prompt=len(prompt.ids),
            context=loaded.context,
            server_limit=config.max_tokens,
            param="prompt",
        )
        for prompt in prompts
    ]
    ids = [prompt.ids for prompt in prompts]
    # `max_tokens` 0 with `echo` is how evaluation harnesses ask for the scores of a prompt.
    is_scored_only = wanted == 0 and body.echo
    top, tokens = _prompt_top(body), sum(map(len, ids))
    scores = count_scores(tokens, top, body.n, "prompt")
    submitted = (
        [] if is_scored_only else submissions(loaded, ids, limits, body, body.logprobs or 0, top)
    )
    return Job(
        name=served.name,
        loaded=loaded,
        submissions=submitted,
        count=len(prompts) * body.n,
        choices_each=body.n,
        format=CompletionFormat(loaded, body, prompts, top if is_scored_only else None),
        stream=body.stream,
        include_usage=body.include_usage,
        prompt_tokens=tokens,
        scores=scores,
    )


def _prompt_top(body: CompletionRequest) -> int | None:
    """The number of alternatives for each token of the prompts; None where they have no scores."""
    wanted = [body.prompt_logprobs, body.logprobs if body.echo else None]
    return max((each for each in wanted if each is not None), default=None)


class CompletionFormat:
    """Choices as texts, with `echo` behind their prompts; see `Format` for the methods."""

    kind, chunk_kind, prefix = "text_completion", "text_completion", "cmpl"

    def __init__(
        self,
        loaded: Loaded,
        body: CompletionRequest,
        prompts: Sequence[_Prompt],
        scored_top: int | None,
    ) -> None:
        """Args: `scored_top` is the number of alternatives where prompts are only scored."""
        self._scored_top = scored_top
        self._loaded, self._body, self._prompts = loaded, body, prompts
        self._prompt_logprobs: list[dict[str, Any] | None] = [None] * len(prompts)
        self._given_logprobs: dict[int, PromptLogprobs] = {}
        self._logprobs: dict[int, TextLogprobs] = {}

    async def prepare(self) -> None:
        if self._scored_top is None:
            return
        prompts = [prompt.ids for prompt in self._prompts]
        some = [ids for ids in prompts if len(ids) > 1]
        scores = iter(await self._loaded.scorer.score(some, self._scored_top))
        for number, ids in enumerate(prompts):
            scored = next(scores) if len(ids) > 1 else Scored((), (), ())
            await asyncio.to_thread(self.take_scores, number * self._body.n, scored)

    def take_scores(self, index: int, scores: Scored) -> None:
        number, text = index // self._body.n, self._loaded.text
        ids, wanted = self._prompts[number].ids, self._body.prompt_logprobs
        if self._body.echo and self._body.logprobs is not None:
            logprobs = TextLogprobs(text, self._body.logprobs)
            self._prompt_logprobs[number] = logprobs.add(prompt_entries(ids, scores))
        if wanted is not None:
            given = prompt_logprobs(text.tokenizer, ids, scores, wanted)
            self._given_logprobs[number] = given

    def beside_choices(self) -> dict[str, Any]:
        return {}

    def whole(self, index: int, choice: Choice) -> dict[str, Any]:
        prompt = self.opening(index)
        logprobs = self._next_logprobs(index, choice.events)
        text = choice.text
        if prompt is not None:
            text = prompt["text"] + text
            if logprobs is not None:
                logprobs = _joined(prompt["logprobs"], logprobs)
        given = self._given_logprobs.get(index // self._body.n)
        more = {} if given is None else {"prompt_logprobs": given}
        return _choice(index, text, logprobs, choice.finish_reason) | more

    def opening(self, index: int) -> dict[str, Any] | None:
        if not self._body.echo:
            return None
        number = index // self._body.n
        return _choice(index, self._prompts[number].text, self._prompt_logprobs[number])

    def piece(self, index: int, text: str, events: Sequence[Event]) -> dict[str, Any] | None:
        logprobs = self._next_logprobs(index, events)
        if not text and not (logprobs and logprobs["tokens"]):
            return None
        return _choice(index, text, logprobs)

    def closing(self, index: int, finish_reason: str) -> dict[str, Any]:
        return _choice(index, "", None, finish_reason)

    def _next_logprobs(self, index: int, events: Iterable[Event]) -> dict[str, Any] | None:
        count = self._body.logprobs
        if count is None:
            return None
        if index not in self._logprobs:
            start = len(self._prompts[index // self._body.n].text) if self._body.echo else 0
            self._logprobs[index] = TextLogprobs(self._loaded.text, count, start)
        return self._logprobs[index].add(event_entries(events))


def _choice(
    index: int, text: str, logprobs: dict[str, Any] | None, finish_reason: str | None = None
) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}


def _joined(first: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    return {name: None if first[name] is None else first[name] + then[name] for name in first}


class TextLogprobs:
    """The `logprobs` of one choice, a piece at a time."""

    def __init__(self, text: TextEngine, count: int, start: int = 0) -> None:
        """Args:
        count: number of alternatives beside each token; 0 gives none.
        start: number of characters of the choice's text before the first token.
        """
        self._text, self._count, self._start = text, count, start
        self._detokenizer = Detokenizer(text.tokenizer)

    def add(self, entries: Iterable[Entry]) -> dict[str, Any]:
        """The `logprobs` object of the next tokens."""
        offsets: list[int] = []
        names: list[str] = []
        logprobs: list[float | None] = []
        tops: list[dict[str, float] | None] = []
        for token, logprob, top in entries:
            offsets.append(self._start + len(self._detokenizer.text))
            self._detokenizer.accept(token)
            names.append(self._name(token))
            logprobs.append(None if logprob is None else max(logprob, MIN_LOGPROB))
            tops.append(None if logprob is None else self._top(token, logprob, top))
        return {
            "tokens": names,
            "token_logprobs": logprobs,
            "top_logprobs": tops if self._count else None,
            "text_offset": offsets,
        }

    def _top(self, token: int, logprob: float, top: Alternatives) -> dict[str, float]:
        """The likeliest tokens and the chosen one; of tokens with one name the likelier counts."""
        by_name: dict[str, float] = {}
        for each, score in (*top[: self._count], (token, logprob)):
            name = self._name(each)
            by_name[name] = max(score, by_name.get(name, MIN_LOGPROB))
        return by_name

    def _name(self, token: int) -> str:
        content = self._text.constraints.token_bytes(token)
        try:
            return content.decode()
        except UnicodeDecodeError:  # part of a character; as in OpenAI's API
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in content)


def prompt_entries(ids: Sequence[int], scored: Scored) -> list[Entry]:
    """Entries of a prompt; `scored` is of all its tokens but the first."""
    tops = scored.top or [()] * len(scored.logprobs)
    return [(ids[0], None, ()), *zip(ids[1:], scored.logprobs, tops, strict=True)]


def event_entries(events: Iterable[Event]) -> list[Entry]:
    """Entries of a continuation, with its EOS token: clients rely on an entry for it."""
    return [
        (token, event.logprob, event.top)
        for event in events
        if (token := event.token if event.token is not None else event.eos) is not None
    ]
