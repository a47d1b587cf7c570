"""Log-probabilities of tokens in the two shapes that OpenAI's API has for them."""

from collections.abc import Iterable, Sequence
from typing import Any

from vcjax.generate.detokenizer import Detokenizer
from vcjax.generate.requests import Alternatives, Event
from vcjax.generate.scoring import Scored
from vcjax.generate.text import TextEngine

Entry = tuple[int, float | None, Alternatives]
"""A token, its log-probability (a text's first has none) and the alternatives to it."""

LEAST = -9999.0
"""Stands for minus infinity, which JSON can't say; as in OpenAI's API."""


def chat_logprobs(text: TextEngine, events: Iterable[Event]) -> dict[str, Any]:
    """The `logprobs` of a choice, or of a piece of one, in a chat."""

    def told(token: int, logprob: float) -> dict[str, Any]:
        content = text.constraints.token_bytes(token)
        return {
            "token": content.decode("utf-8", "backslashreplace"),
            "logprob": max(logprob, LEAST),
            "bytes": list(content),
        }

    content = [
        told(event.token, event.logprob)
        | {"top_logprobs": [told(token, logprob) for token, logprob in event.top]}
        for event in events
        if event.token is not None
    ]
    return {"content": content, "refusal": None}


class TextLogprobs:
    """The `logprobs` of one choice of a completion, a piece at a time."""

    def __init__(self, text: TextEngine, count: int, start: int = 0) -> None:
        """Args:
        count: alternatives that are told beside each token; 0 tells none.
        start: characters of the choice's text before the first token.
        """
        self._text, self._count, self._start = text, count, start
        self._decoder = Detokenizer(text.tokenizer)

    def of(self, entries: Iterable[Entry]) -> dict[str, Any]:
        """What is told of the next tokens."""
        told: dict[str, list[Any]] = {
            "tokens": [],
            "token_logprobs": [],
            "top_logprobs": [],
            "text_offset": [],
        }
        for token, logprob, top in entries:
            told["text_offset"].append(self._start + len(self._decoder.text))
            self._decoder.accept(token)
            told["tokens"].append(self._name(token))
            known = None if logprob is None else self._top(token, logprob, top)
            told["token_logprobs"].append(None if logprob is None else max(logprob, LEAST))
            told["top_logprobs"].append(known)
        return told if self._count else {**told, "top_logprobs": None}

    def _top(self, token: int, logprob: float, top: Alternatives) -> dict[str, float]:
        """The likeliest tokens and the chosen one. Of tokens with one name the likelier is told."""
        told: dict[str, float] = {}
        for each, score in (*top[: self._count], (token, logprob)):
            name = self._name(each)
            told[name] = max(score, told.get(name, LEAST))
        return told

    def _name(self, token: int) -> str:
        content = self._text.constraints.token_bytes(token)
        try:
            return content.decode()
        except UnicodeDecodeError:  # part of a character; as in OpenAI's API
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in content)


def prompt_entries(ids: Sequence[int], scored: Scored | None) -> list[Entry]:
    """Entries of a prompt; `scored` is of all its tokens but the first, None if there are none."""
    entries: list[Entry] = [(ids[0], None, ())]
    if scored is not None:
        tops = scored.top or [()] * len(scored.logprobs)
        entries += zip(ids[1:], scored.logprobs, tops, strict=True)
    return entries


def event_entries(events: Iterable[Event]) -> list[Entry]:
    """Entries of a continuation, its EOS token included: clients count on that place."""
    return [
        (token, event.logprob, event.top)
        for event in events
        if (token := event.token if event.token is not None else event.eos) is not None
    ]
