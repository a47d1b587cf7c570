"""`/v1/chat/completions`."""

from collections.abc import Sequence
from typing import Any

from vcjax.generate.requests import Event
from vcjax.generate.text import TextEngine, encode_prompt
from vcjax.serve.asking import ask, new_tokens
from vcjax.serve.choices import Choice, Job
from vcjax.serve.config import ServeConfig
from vcjax.serve.fields import ChatRequest
from vcjax.serve.logprobs import chat_logprobs
from vcjax.serve.models import Served


def chat_job(body: ChatRequest, served: Served, config: ServeConfig) -> Job:
    """What a chat asks of the engine.

    Raises:
      ApiError: the model isn't ready, or the conversation doesn't fit its context.
      UserError: messages that the chat template can't render, or settings out of bounds.
    """
    loaded = served.ready()
    messages = [message.plain() for message in body.messages]
    if config.persona and all(message["role"] != "system" for message in messages):
        messages.insert(0, {"role": "system", "content": config.persona})
    ids = encode_prompt(loaded.text.tokenizer, messages)
    wanted = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    bound = new_tokens(wanted, len(ids), loaded.context, config.max_tokens, "messages")
    top = body.top_logprobs or 0
    return Job(
        name=served.name,
        loaded=loaded,
        asked=ask(loaded, [ids], [bound], body, top),
        count=body.n,
        format=ChatFormat(loaded.text, body.logprobs),
        stream=body.stream,
        include_usage=body.include_usage,
        prompt_tokens=len(ids),
    )


class ChatFormat:
    """Messages, and their deltas in a stream."""

    kind, chunk_kind, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"

    def __init__(self, text: TextEngine, logprobs: bool) -> None:
        self._text, self._logprobs = text, logprobs

    async def prepare(self) -> None:
        """Nothing comes before the first token."""

    def whole(self, index: int, choice: Choice) -> dict[str, Any]:
        """See `Format`."""
        return {
            "index": index,
            "message": {"role": "assistant", "content": choice.text, "refusal": None},
            "logprobs": self._told(choice.events),
            "finish_reason": choice.finish_reason,
        }

    def opening(self, index: int) -> dict[str, Any]:
        """See `Format`."""
        return self._delta(index, {"role": "assistant", "content": ""})

    def piece(self, index: int, text: str, events: Sequence[Event]) -> dict[str, Any] | None:
        """See `Format`."""
        if not text and not (self._logprobs and any(e.token is not None for e in events)):
            return None
        return self._delta(index, {"content": text}) | {"logprobs": self._told(events)}

    def closing(self, index: int, finish_reason: str) -> dict[str, Any]:
        """See `Format`."""
        return self._delta(index, {}) | {"finish_reason": finish_reason}

    def _told(self, events: Sequence[Event]) -> dict[str, Any] | None:
        return chat_logprobs(self._text, events) if self._logprobs else None

    def _delta(self, index: int, delta: dict[str, Any]) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
