"""A conversation to one string, with the spans that are the assistant's and those that are inert.

Inert: a special token's string inside a message's content. The template must not see a token
there and the tokenizer must not parse one, so while the template runs each such string is a
single character that occurs nowhere else; afterwards it is put back and its span is kept.
"""

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import jinja2
from transformers.utils.chat_template_utils import render_jinja_template

from vcjax.foundation.errors import UserError
from vcjax.text.encoder import unused_characters
from vcjax.text.templates import END_OF_TURN
from vcjax.text.tokenizer import Tokenizer

Message = Mapping[str, str]
Span = tuple[int, int]  # characters, half-open

# transformers keeps one compiled template, which tracks the spans, for all threads.
_RENDERING = threading.Lock()

_GENERATION_MARKER = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")

# Llama 3.1 and later templates print today's date unless they are given one, and a rendering must
# not depend on the day. This is the date those templates fall back on.
_DATE = "26 Jul 2024"

_MEND = (
    "the assistant's tokens can't be told from the rest: add {% generation %} markers to the "
    "template or use another one"
)


@dataclass(frozen=True)
class ChatText:
    """A rendered conversation; spans are sorted and do not overlap."""

    text: str
    assistant: tuple[Span, ...]  # each ends with its end-of-turn token
    inert: tuple[Span, ...]


def render_chat_text(
    tokenizer: Tokenizer, template: str, messages: Sequence[Message], add_generation_prompt: bool
) -> ChatText:
    """Renders valid `messages`. Raises UserError for a template that fails or can't be masked."""
    tokens = _StandIns(tokenizer, template, messages)
    messages = [
        {"role": message["role"], "content": tokens.hide(message["content"])}
        for message in messages
    ]
    run = _Template(tokenizer, template)
    if _GENERATION_MARKER.search(template):
        text, spans = run.marked(messages, add_generation_prompt)
    else:
        text, spans = run.differenced(messages, add_generation_prompt)
    return tokens.reveal(text, spans)


class _StandIns:
    """Characters that stand in for special tokens' strings in the contents of messages."""

    def __init__(self, tokenizer: Tokenizer, template: str, messages: Sequence[Message]):
        contents = "\0".join(message["content"] for message in messages)
        found = [string for string in tokenizer.special_tokens if string in contents]
        # A token comes before those that it contains.
        found.sort(key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, found)))
        characters = unused_characters(contents + template, len(found))
        self._character = dict(zip(found, characters, strict=True))
        self._string = {character: string for string, character in self._character.items()}

    def hide(self, content: str) -> str:
        if not self._character:
            return content
        return self._pattern.sub(lambda match: self._character[match[0]], content)

    def reveal(self, text: str, assistant: list[Span]) -> ChatText:
        if not self._string:
            return ChatText(text, tuple(assistant), ())
        strings = [self._string.get(character, character) for character in text]
        starts = [0]
        for string in strings:
            starts.append(starts[-1] + len(string))
        return ChatText(
            text="".join(strings),
            assistant=tuple((starts[a], starts[b]) for a, b in assistant),
            inert=tuple(
                (starts[i], starts[i + 1])
                for i, character in enumerate(text)
                if character in self._string
            ),
        )


class _Template:
    """A chat template and the two ways to find the assistant's spans in what it renders."""

    def __init__(self, tokenizer: Tokenizer, source: str):
        self._source = source
        self._variables: dict[str, Any] = {
            **tokenizer.backend.special_tokens_map,
            "date_string": _DATE,
        }
        eos = [] if tokenizer.eos_id is None else [tokenizer.backend.eos_token]
        self._ends = (*END_OF_TURN, *map(str, eos))

    def marked(self, messages: list[dict], add_generation_prompt: bool) -> tuple[str, list[Span]]:
        """Spans from the template's {% generation %} markers."""
        text, spans = self._render(messages, add_generation_prompt, markers=True)
        turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        if turns and not spans:
            raise UserError("chat template: no {% generation %} marker covers an assistant turn")
        if len(spans) == len(turns):  # else the template marks parts of turns, or some turns
            for i, (start, end) in zip(turns, spans, strict=True):
                if _answer(messages[i]) not in text[start:end]:
                    raise UserError(
                        "chat template: a {% generation %} marker does not cover the content of "
                        f"messages[{i}]; don't put markers in macros or {{% set %}} blocks"
                    )
        return text, [(start, self._with_end_of_turn(text, end)) for start, end in spans]

    def differenced(
        self, messages: list[dict], add_generation_prompt: bool
    ) -> tuple[str, list[Span]]:
        """Spans from what an assistant turn adds to the rendering of the turns before it."""
        text = self._render(messages, add_generation_prompt)[0]
        spans = []
        for i, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self._render(messages[:i], True)[0]
            through = self._render(messages[: i + 1], False)[0]
            if not text.startswith(through):
                raise UserError(
                    f"chat template: it renders the turns up to messages[{i}] differently once "
                    f"later turns follow; {_MEND}"
                )
            if not through.startswith(before):
                raise UserError(
                    f"chat template: its generation prompt is not how messages[{i}] begins; {_MEND}"
                )
            spans.append((len(before), self._turn_end(text, len(before), len(through), i, message)))
        return text, spans

    def _turn_end(self, text: str, start: int, end: int, index: int, message: dict) -> int:
        """Where an assistant turn that is rendered in [start, end) stops being the assistant's."""
        answer = _answer(message)
        content_end = text.find(answer, start, end) + len(answer)
        if content_end < start + len(answer):
            raise UserError(f"chat template: it does not render messages[{index}].content as it is")
        # White space after the end-of-turn token belongs to the layout. Where nothing but white
        # space ends a turn, that is the only sign of its end, and stays.
        ending = text[content_end:end]
        return content_end + len(ending.rstrip() or ending)

    def _with_end_of_turn(self, text: str, end: int) -> int:
        """Takes in an end-of-turn token that a marker left outside: an end must be learnt."""
        if text.endswith(self._ends, 0, end):
            return end
        return end + next((len(token) for token in self._ends if text.startswith(token, end)), 0)

    def _render(
        self, messages: list[dict], add_generation_prompt: bool, markers: bool = False
    ) -> tuple[str, list[Span]]:
        try:
            with _RENDERING:
                texts, spans = render_jinja_template(
                    conversations=[messages],
                    chat_template=self._source,
                    return_assistant_tokens_mask=markers,
                    add_generation_prompt=add_generation_prompt,
                    **self._variables,
                )
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            roles = ", ".join(message["role"] for message in messages) or "no messages"
            raise UserError(f"chat template: it fails on ({roles}): {error}") from error
        # (transformers types the spans as strings; they are offsets)
        return texts[0], sorted(cast(list[Span], spans[0])) if markers else []


def _answer(message: dict) -> str:
    """The part of an assistant's content that a template keeps as it is.

    Templates trim it, and some lay out the reasoning before `</think>` anew.
    """
    content = message["content"].strip()
    return content.rpartition("</think>")[2].strip() or content
