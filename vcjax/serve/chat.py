"""`/v1/chat/completions`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vcjax.core.errors import UserError
from vcjax.generate.likelihood import encode_answers
from vcjax.generate.requests import Event, Scored
from vcjax.generate.text import encode_prompt
from vcjax.generate.tool_grammar import tool_grammar
from vcjax.serve.answers import Choice, Job
from vcjax.serve.calls import Calling, CallReader
from vcjax.serve.config import ServeConfig
from vcjax.serve.continuations import count_scores, max_new_tokens, submissions
from vcjax.serve.models import Loaded, Served
from vcjax.serve.prompt_logprobs import PromptLogprobs, prompt_logprobs
from vcjax.serve.protocol import MIN_LOGPROB, ChatRequest
from vcjax.text.rendering import render_tool_prompt
from vcjax.text.tokenizer import Tokenizer
from vcjax.text.tool_calls import tool_syntax

_RESERVED = ("messages", "tools", "documents", "add_generation_prompt")
"""Variables of chat templates that the request itself sets."""


def chat_job(body: ChatRequest, served: Served, config: ServeConfig) -> Job:
    """The job of a chat request.

    Raises:
      ApiError: the model isn't ready, or the conversation doesn't fit its context.
      UserError: messages that the chat template can't render, or settings out of bounds.
    """
    loaded = served.ready()
    messages = [message.plain() for message in body.messages]
    if config.persona and all(message["role"] != "system" for message in messages):
        messages.insert(0, {"role": "system", "content": config.persona})
    tokenizer = _with_variables(loaded.text.tokenizer, body.chat_template_kwargs)
    calling, grammar = None, None
    if body.offered or body.has_calls:
        syntax = tool_syntax(tokenizer)
        ids = render_tool_prompt(tokenizer, messages, [tool.plain() for tool in body.offered])
        if body.offered:
            calling = Calling(
                syntax,
                tokenizer,
                frozenset(tool.function.name for tool in body.offered),
                several=body.parallel_tool_calls,
            )
        if body.required:
            schemas = {tool.function.name: tool.schema_of_arguments for tool in body.required}
            several = body.parallel_tool_calls
            grammar = tool_grammar(tokenizer, syntax, schemas, several=several)
    elif body.continue_final_message:
        ((ids, _),) = encode_answers(tokenizer, messages[:-1], [messages[-1]["content"]])
    else:
        ids = encode_prompt(tokenizer, messages)
    wanted = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    limit = max_new_tokens(
        wanted,
        prompt=len(ids),
        context=loaded.context,
        server_limit=config.max_tokens,
        param="messages",
    )
    return Job(
        name=served.name,
        loaded=loaded,
        submissions=submissions(
            loaded,
            [tuple(ids)],
            [limit],
            body,
            body.top_logprobs or 0,
            body.prompt_logprobs,
            grammar,
        ),
        count=body.n,
        choices_each=body.n,
        format=ChatFormat(loaded, body, ids, calling),
        stream=body.stream,
        include_usage=body.include_usage,
        prompt_tokens=len(ids),
        scores=count_scores(len(ids), body.prompt_logprobs, 1, "messages"),
    )


def _with_variables(tokenizer: Tokenizer, variables: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer with further variables of its chat template, such as `enable_thinking`.

    Raises:
      UserError: one that is the request's, or whose value isn't a number, a boolean or a text
        without the strings of special tokens, which come from the template alone.
    """
    if not variables:
        return tokenizer
    for name, value in variables.items():
        if name in _RESERVED or name in tokenizer.backend.special_tokens_map:
            raise UserError(f"chat_template_kwargs: {name!r} isn't for a request to set")
        if not isinstance(value, bool | int | float | str):
            raise UserError(f"chat_template_kwargs: {name!r} isn't a number, boolean or text")
        if isinstance(value, str) and any(token in value for token in tokenizer.special_tokens):
            raise UserError(f"chat_template_kwargs: {name!r} has a special token")
    options = {**tokenizer.template_options, **variables}
    return tokenizer.with_settings(options, tokenizer.system)


class ChatFormat:
    """Choices as messages, and as their deltas in a stream; see `Format` for the methods."""

    kind, chunk_kind, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"

    def __init__(
        self, loaded: Loaded, body: ChatRequest, ids: Sequence[int], calling: Calling | None
    ) -> None:
        """Args:
        ids: of the prompt.
        calling: how answers are read that may call tools; None where they may not.
        """
        self._calling, self._readers = calling, dict[int, CallReader]()
        self._text, self._ids = loaded.text, ids
        self._has_logprobs, self._wanted = body.logprobs, body.prompt_logprobs
        self._prompt_logprobs: PromptLogprobs = []

    async def prepare(self) -> None:
        pass

    def take_scores(self, index: int, scores: Scored) -> None:
        if self._wanted is not None:
            self._prompt_logprobs = prompt_logprobs(
                self._text.tokenizer, self._ids, scores, self._wanted
            )

    def beside_choices(self) -> dict[str, Any]:
        return {} if self._wanted is None else {"prompt_logprobs": self._prompt_logprobs}

    def whole(self, index: int, choice: Choice) -> dict[str, Any]:
        content, calls, reason = choice.text, [], choice.finish_reason
        if self._calling is not None:
            reader = self._calling.reader()
            parts = reader.feed(choice.text, choice.events), reader.finish()
            content = "".join(part.get("content", "") for part in parts)
            calls = [call for part in parts for call in part.get("tool_calls", ())]
            reason = reader.reason(reason)
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
        if calls:  # `index` is of streams
            message["content"] = content or None
            message["tool_calls"] = [
                {name: value for name, value in call.items() if name != "index"} for call in calls
            ]
        return {
            "index": index,
            "message": message,
            "logprobs": self._logprobs(choice.events),
            "finish_reason": reason,
        }

    def opening(self, index: int) -> dict[str, Any]:
        return _delta(index, {"role": "assistant", "content": ""})

    def piece(self, index: int, text: str, events: Sequence[Event]) -> dict[str, Any] | None:
        # A token may have no text of its own yet, but it has a log-probability.
        has_tokens = any(event.token is not None for event in events)
        fields = {"content": text} if text else {}
        if self._calling is not None:
            fields = self._reader(index).feed(text, events)
        if not fields and not (self._has_logprobs and has_tokens):
            return None
        return _delta(index, fields or {"content": ""}) | {"logprobs": self._logprobs(events)}

    def closing(self, index: int, finish_reason: str) -> dict[str, Any]:
        if self._calling is None:
            return _delta(index, {}) | {"finish_reason": finish_reason}
        reader = self._reader(index)
        fields = reader.finish()
        return _delta(index, fields) | {"finish_reason": reader.reason(finish_reason)}

    def _reader(self, index: int) -> CallReader:
        """The reader of a choice that is streamed."""
        assert self._calling is not None
        return self._readers.setdefault(index, self._calling.reader())

    def _logprobs(self, events: Iterable[Event]) -> dict[str, Any] | None:
        if not self._has_logprobs:
            return None
        content = [
            self._entry(event.token, event.logprob)
            | {"top_logprobs": [self._entry(token, logprob) for token, logprob in event.top]}
            for event in events
            if event.token is not None
        ]
        return {"content": content, "refusal": None}

    def _entry(self, token: int, logprob: float) -> dict[str, Any]:
        content = self._text.constraints.token_bytes(token)
        return {
            "token": content.decode("utf-8", "backslashreplace"),
            "logprob": max(logprob, MIN_LOGPROB),
            "bytes": list(content),
        }


def _delta(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
