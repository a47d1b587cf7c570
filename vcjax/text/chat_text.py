"""A conversation to one string, with the spans that are the assistant's and those that are inert.

Inert: a special token's string inside a message's content. The template must not see a token there
and the tokenizer must not parse one, so while the template runs, each such string is a mark (see
`vcjax.text.marks`); afterwards it is put back and its span is recorded. Marks also find an answer
in the template's rendering, wherever it is and however often the same words are in the text.

Where a template doesn't mark what the assistant writes, an answer is what it renders beyond the
prompt for it, which is the rendering of the earlier messages with a generation prompt. Templates
may rewrite earlier turns (Qwen3 drops their reasoning, Mistral moves the system message to the last
question): then the rendering of a whole conversation doesn't begin with the prompts of its earlier
answers, and each of those has a rendering of its own, of the conversation that ends with it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vcjax.core.errors import UserError
from vcjax.text.marks import Marks, Span, any_of
from vcjax.text.templates import (
    END_OF_TURN,
    ChatTemplate,
    Message,
    default_template,
    warn_of_missing_tokens,
)
from vcjax.text.tokenizer import Tokenizer

_GENERATION_MARKER = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
_THOUGHT, _THOUGHT_END = "<think>", "</think>"


@dataclass(frozen=True)
class ChatText:
    """A rendered conversation; spans are sorted and do not overlap."""

    text: str
    assistant: tuple[Span, ...]  # those to train on; each ends with its end-of-turn token
    inert: tuple[Span, ...]


def prompt_text(
    tokenizer: Tokenizer, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()
) -> ChatText:
    """The prompt for the next answer, rendered once; no span is the assistant's.

    Args:
      tools: that the answer may call, as OpenAI's API has them.

    Raises:
      UserError: the template fails on the messages.
    """
    chat = _Chat(tokenizer, messages, tools)
    return chat.reveal(chat.prompt(len(messages)), [])


def training_texts(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[ChatText]:
    """Texts in which each answer of a conversation is the assistant's once.

    One text where the template has `{% generation %}` markers or renders earlier turns like last
    ones; else also one for each turn that it renders otherwise once others follow.

    Raises:
      UserError: the template fails on the messages, or doesn't render an answer as it is.
    """
    chat = _Chat(tokenizer, messages)
    if (marked := chat.marked()) is not None:
        return [chat.reveal(*marked)]
    whole = chat.text(len(messages))
    spans, own = [], []
    for turn in chat.turns:
        text, span = chat.as_last(turn, whole)
        if whole.startswith(text[: span[1]]):
            spans.append(span)
        else:
            own.append(chat.reveal(text, [span]))
    return [*own, chat.reveal(whole, spans)] if spans else own


def last_turn_text(tokenizer: Tokenizer, messages: Sequence[Message]) -> ChatText:
    """The text of a conversation that ends with an answer; that answer alone is the assistant's.

    Raises:
      UserError: as `training_texts`.
    """
    chat = _Chat(tokenizer, messages)
    if (marked := chat.marked()) is not None and len(marked[1]) == len(chat.turns):
        text, spans = marked
        return chat.reveal(text, spans[-1:])
    text, span = chat.as_last(len(messages) - 1, chat.text(len(messages)))
    return chat.reveal(text, [span])


@dataclass(frozen=True)
class _Answer:
    """Where a message's content is in a text.

    Attributes:
      start: of the content without white space before it; None where the template drops its
        first part, which then is reasoning.
      reply: of what follows the reasoning; `start` where there is none.
      end: of the content without white space after it.
    """

    start: int | None
    reply: int
    end: int


class _Chat:
    """A conversation in its template. Texts are as the template sees them, with marks for the
    special tokens in contents, until `reveal` puts these back."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
    ):
        source = tokenizer.chat_template or default_template(tokenizer)
        warn_of_missing_tokens(tokenizer, source)
        variables = {**tokenizer.backend.special_tokens_map, **tokenizer.template_options}
        self._has_markers = _GENERATION_MARKER.search(source) is not None
        if tokenizer.system == "first_user":
            messages = system_in_first_question(messages)
        given = [{**message, "role": ""} for message in messages]  # roles aren't a user's text
        self._marks = Marks(tokenizer.special_tokens, source, [*given, *tools])
        hidden = self._marks.hide
        self._messages = [
            {name: value if name == "role" else hidden(value) for name, value in message.items()}
            for message in messages
        ]
        self._template = ChatTemplate(
            source, {**variables, **({"tools": hidden(list(tools))} if tools else {})}
        )
        eos = [] if tokenizer.eos_id is None else [str(tokenizer.backend.eos_token)]
        self._ends = (*END_OF_TURN, *eos)
        self._special = any_of({*self._ends, *tokenizer.special_tokens})

    @property
    def turns(self) -> list[int]:
        """Indices of the assistant's messages."""
        return [i for i, message in enumerate(self._messages) if message["role"] == "assistant"]

    def text(self, count: int) -> str:
        """The first `count` messages."""
        return self._template.render(self._messages[:count], False)

    def prompt(self, count: int) -> str:
        """The first `count` messages with a generation prompt."""
        return self._template.render(self._messages[:count], True)

    def reveal(self, text: str, spans: Sequence[Span]) -> ChatText:
        """The text and the assistant's spans in it, special tokens in contents put back."""
        return ChatText(*self._marks.reveal(text, spans))

    def marked(self) -> tuple[str, list[Span]] | None:
        """The whole conversation and its spans by the template's `{% generation %}` markers.

        None where it has no markers, or where they cut through an answer.
        """
        if not self._has_markers:
            return None
        marks = self._marks
        answered = [self._answered(i) for i in range(len(self._messages))]
        generation = (marks.generation_start, marks.generation_end)
        raw = self._template.render(answered, False, generation)
        text, at = marks.take_out(raw)
        starts, ends = at.get(marks.generation_start, []), at.get(marks.generation_end, [])
        spans = list(zip(starts, ends, strict=True))
        answers = list(zip(at.get(marks.reply, []), at.get(marks.end, []), strict=False))
        whole = text == self.text(len(self._messages)) and len(answers) == len(self.turns)
        if not whole or not spans or not all(_in_one_or_none(each, spans) for each in answers):
            return None
        return text, [(start, self._with_end_of_turn(text, end)) for start, end in spans]

    def as_last(self, turn: int, whole: str) -> tuple[str, Span]:
        """The conversation up to an answer, with the prompt for it, and the answer's span in it.

        The text is the template's rendering of these messages where that begins with the prompt.
        Else it is the prompt, and then the answer as the template renders it: a model must learn
        the answer after the same text as it will generate it after.

        Args:
          whole: the whole conversation.
        """
        text, answer = self._located(turn, whole)
        end = self._end(text, answer.end, turn)
        if turn == 0:  # it has no prompt
            return text, (answer.reply if answer.start is None else answer.start, end)
        prompt = self.prompt(turn)
        if text.startswith(prompt) and len(prompt) <= answer.reply:
            return text, (len(prompt), end)
        completion = self._completion(prompt, text, answer, end=end, turn=turn)
        return prompt + completion, (len(prompt), len(prompt) + len(completion))

    def _completion(self, prompt: str, text: str, answer: _Answer, *, end: int, turn: int) -> str:
        """The answer in `text`, which doesn't begin with the prompt, as it follows the prompt.

        Args:
          end: of the turn in `text`.
        """
        reply = text[answer.reply : end]
        content = self._messages[turn]["content"]
        before, thought, _ = content.rpartition(_THOUGHT_END)
        if prompt.rstrip().endswith(_THOUGHT):  # the prompt has opened the reasoning
            reasoning = before.rpartition(_THOUGHT)[2].strip("\n") if thought else ""
            return f"{reasoning}\n{_THOUGHT_END}\n\n{reply}"
        if answer.start is None or prompt.rstrip().endswith(_THOUGHT_END):
            return reply
        return text[_turn_start(prompt, text, answer.start) : answer.reply] + reply

    def _located(self, turn: int, whole: str) -> tuple[str, _Answer]:
        """The conversation up to an answer, and where that is in it.

        Raises:
          UserError: the template doesn't render the answer as it is.
        """
        marks = self._marks
        raw = self._template.render([*self._messages[:turn], self._answered(turn)], False)
        text, at = marks.take_out(raw)
        if not whole.startswith(text) and text != (plain := self.text(turn + 1)):
            return plain, self._searched(plain, turn)  # the marks have changed what it does
        starts = at.get(marks.start, [])
        replies, ends = at.get(marks.reply, []), at.get(marks.end, [])
        if len(replies) != 1 or len(ends) != 1 or len(starts) > 1:
            return text, self._searched(text, turn)
        return text, _Answer(starts[0] if starts else None, replies[0], ends[0])

    def _searched(self, text: str, turn: int) -> _Answer:
        """Finds the span of an answer in `text` by its words."""
        answer = _after_thought(self._messages[turn]["content"]).strip()
        before = 0 if turn == 0 else len(self.prompt(turn))
        start = text.find(answer, before)
        if start < 0:
            raise UserError(f"chat template: it does not render messages[{turn}].content as it is")
        return _Answer(start, start, start + len(answer))

    def _answered(self, index: int) -> Message:
        """A message with marks around its content, inside its white space, if it is an answer."""
        message = self._messages[index]
        if message["role"] != "assistant":
            return message
        content, marks = message["content"], self._marks
        inner = content.strip()
        before, after = content.split(inner, 1) if inner else (content, "")
        reply = _after_thought(inner).lstrip()
        thought = inner[: len(inner) - len(reply)]
        within = f"{marks.start}{thought}{marks.reply}{reply}{marks.end}"
        return _with_content(message, before + within + after)

    def _end(self, text: str, content_end: int, turn: int) -> int:
        """Where the turn whose content ends at `content_end`, the last of `text`, ends.

        With its first special token: white space after it belongs to the layout, and some templates
        begin the next turn there. Where nothing but white space ends a turn, that is the only sign
        of its end, and counts.
        """
        ending = text[content_end:]
        if special := self._special.search(ending):
            return content_end + special.end()
        if ending.strip() and self.prompt(turn + 1) == text:
            # The template ends every conversation with a generation prompt, which isn't part of
            # this turn. What another turn begins with isn't either.
            ending = _common_prefix(ending, self._followed(turn)[content_end:])
        return content_end + len(ending.rstrip() or ending)

    def _followed(self, turn: int) -> str:
        question = {"role": "user", "content": "?"}
        return self._template.render([*self._messages[: turn + 1], question], False)

    def _with_end_of_turn(self, text: str, end: int) -> int:
        """Includes an end-of-turn token that a marker left outside: an end must be learnt."""
        if text.endswith(self._ends, 0, end):
            return end
        return end + next((len(token) for token in self._ends if text.startswith(token, end)), 0)


def system_in_first_question(messages: Sequence[Message]) -> list[Message]:
    """The messages with a leading system message put before the first question, as part of it."""
    if not messages or messages[0]["role"] != "system":
        return list(messages)
    system, rest = messages[0]["content"], list(messages[1:])
    if not rest or rest[0]["role"] != "user":
        return [{"role": "user", "content": system}, *rest]
    return [_with_content(rest[0], f"{system}\n\n{rest[0]['content']}"), *rest[1:]]


def _with_content(message: Message, content: str) -> Message:
    return {"role": message["role"], "content": content}


def _after_thought(content: str) -> str:
    """An answer without its reasoning, which some templates lay out anew or leave out."""
    reply = content.rpartition(_THOUGHT_END)[2]
    return reply if reply.strip() else content


def _in_one_or_none(answer: Span, spans: Sequence[Span]) -> bool:
    """Whether an answer is inside one of the spans, or touches none."""
    start, end = answer
    touched = [span for span in spans if span[0] < end and start < span[1]]
    return not touched or (len(touched) == 1 and touched[0][0] <= start and end <= touched[0][1])


def _turn_start(prompt: str, text: str, start: int) -> int:
    """Where in `text` the assistant's turn begins whose content begins at `start`: white space
    before that is the turn's own, unless the prompt ends with it."""
    before = text[:start]
    white = len(before) - len(before.rstrip())
    # The longest suffix that the prompt shares decides how much of the white space is its own.
    shared = [
        len(_common_prefix(before[: start - n][::-1], prompt[::-1])) for n in range(white + 1)
    ]
    return start - shared.index(max(shared))


def _common_prefix(one: str, other: str) -> str:
    """The prefix that two strings share."""
    length = next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    return one[:length]
