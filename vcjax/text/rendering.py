"""Conversations to token ids, and to ids with the loss mask of the assistant's turns.

A conversation is rendered to one string and encoded at once, so that ids are those of the whole
text for any template; a token's mask follows from the positions of its characters.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from vcjax.core.errors import UserError, suggest
from vcjax.text.chat_text import ChatText, Span, last_turn_text, prompt_text, training_texts
from vcjax.text.encoder import Token
from vcjax.text.templates import Message
from vcjax.text.tokenizer import Tokenizer

ROLES = ("system", "user", "assistant", "tool")

# ANSI colours of a terminal.
_RESET = "\x1b[0m"
_TRAINED = "\x1b[32m"  # green
_CONTEXT = "\x1b[2m"  # dim
_SPECIAL = "\x1b[7m"  # reverse video, with either colour


@dataclass(frozen=True)
class Rendered:
    """Token ids, and for each, whether it is trained on (the assistant wrote it)."""

    ids: tuple[int, ...]
    loss_mask: tuple[bool, ...]


def render_prompt(tokenizer: Tokenizer, messages: Sequence[Message]) -> tuple[int, ...]:
    """The ids of the prompt for the next answer: `messages` (`{"role", "content"}` each) in the
    tokenizer's chat template, up to the assistant's header.

    BOS comes once, if the template writes it or the tokenizer adds it. Special tokens come from
    the template alone: their strings in a message's content are encoded as text.

    Raises:
        UserError: an invalid message, or a template that fails or refuses the messages.
    """
    _check(messages)
    return _rendered(tokenizer, prompt_text(tokenizer, messages)).ids


def render_tool_prompt(
    tokenizer: Tokenizer, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]
) -> tuple[int, ...]:
    """The ids of `render_prompt` where the next answer may call tools, or earlier ones did.

    Args:
        messages: an answer may have `tool_calls`, `{"id", "type", "function": {"name",
            "arguments"}}` each with arguments as an object, and a message of the role `tool` has
            the `tool_call_id` of the call whose result it is.
        tools: as OpenAI's API has them. Strings of special tokens are text in them, too.

    Raises:
        UserError: as `render_prompt`; or what is nested too deeply.
    """
    _check(messages, more=("tool_calls", "tool_call_id"))
    try:
        return _rendered(tokenizer, prompt_text(tokenizer, messages, tools)).ids
    except RecursionError:
        raise UserError("messages: tools or their calls are nested too deeply") from None


def render_samples(tokenizer: Tokenizer, messages: Sequence[Message]) -> list[Rendered]:
    """Renders a conversation to samples with assistant-only loss masks; each turn of the assistant
    is trained on in one of them.

    It is one sample, unless the template renders earlier turns otherwise once later ones follow:
    then such a turn has a sample of its own, which ends with it, since its prompt is in that form.

    A mask covers a turn with its end-of-turn token, not the newline after it. No token straddles
    the start or the end of a turn: where one would (a content that begins with newlines, after a
    header that ends with one), the text is cut there, so that what comes before is encoded as it is
    when the model is asked to answer. BOS and special tokens are as in `render_prompt`.

    Raises:
        UserError: an invalid message; no turn of the assistant; a template that fails or refuses
            the messages, or that doesn't render what the assistant writes.
    """
    _check(messages)
    _check_answers(messages)
    return [_rendered(tokenizer, chat) for chat in training_texts(tokenizer, messages)]


def render_last_turn(tokenizer: Tokenizer, messages: Sequence[Message]) -> Rendered:
    """Renders a conversation that ends with the assistant's turn, which alone is trained on.

    Raises:
        UserError: as `render_samples`; or the last message isn't the assistant's.
    """
    _check(messages)
    _check_answers(messages)
    if messages[-1]["role"] != "assistant":
        raise UserError(f"messages[{len(messages) - 1}]: the last message isn't the assistant's")
    return _rendered(tokenizer, last_turn_text(tokenizer, messages))


def _rendered(tokenizer: Tokenizer, chat: ChatText) -> Rendered:
    ids, mask = _encode(tokenizer, chat)
    if tokenizer.adds_bos and ids[:1] != [tokenizer.bos_id]:
        ids, mask = [tokenizer.bos_id, *ids], [False, *mask]
    return Rendered(tuple(ids), tuple(mask))


def _encode(tokenizer: Tokenizer, chat: ChatText) -> tuple[list[int], list[bool]]:
    text = _without_inert(tokenizer, chat)
    tokens = tokenizer.encoder.parsed(text)
    boundaries = sorted({position for span in chat.assistant for position in span})
    straddles = any(_straddles(token, boundaries) for token in tokens)
    # Nearly every conversation: the ids are those of the whole text, as transformers gives them.
    if not chat.inert and not straddles:
        return (
            [token.id for token in tokens],
            [_inside(token.start, chat.assistant) for token in tokens],
        )

    # Encode the text between special tokens and boundaries as plain text.
    special = [
        token
        for token in tokens  # a token may take in white space beside it, and <unk> replaces any
        if tokenizer.special_tokens.get(text[token.start : token.end].strip()) == token.id
    ]
    cuts = [Token(-1, b, b) for b in boundaries if not _within(b, special)]
    events = sorted(special + cuts, key=lambda event: (event.start, event.end))
    starts = [0, *(event.end for event in events)]
    ends = [*(event.start for event in events), len(chat.text)]
    pieces = [chat.text[start:end] for start, end in zip(starts, ends, strict=True)]

    ids: list[int] = []
    mask: list[bool] = []
    for i, piece_ids in enumerate(tokenizer.encoder.plain(pieces)):
        ids += piece_ids
        mask += [_inside(starts[i], chat.assistant)] * len(piece_ids)
        if i < len(events) and events[i].id >= 0:
            ids.append(events[i].id)
            mask.append(_inside(events[i].start, chat.assistant))
    return ids, mask


def _without_inert(tokenizer: Tokenizer, chat: ChatText) -> str:
    """The text with a meaningless character for each one of the inert spans: same positions."""
    if not chat.inert:
        return chat.text
    blank = tokenizer.meaningless_character
    parts, position = [], 0
    for start, end in chat.inert:
        parts += [chat.text[position:start], blank * (end - start)]
        position = end
    return "".join([*parts, chat.text[position:]])


def _straddles(token: Token, boundaries: list[int]) -> bool:
    i = bisect_right(boundaries, token.start)
    return i < len(boundaries) and boundaries[i] < token.end


def _within(position: int, tokens: list[Token]) -> bool:
    """Whether a position is inside one of the tokens, which are sorted."""
    i = bisect_right(tokens, position, key=lambda token: token.start) - 1
    return i >= 0 and tokens[i].start < position < tokens[i].end


def _inside(position: int, spans: tuple[Span, ...]) -> bool:
    i = bisect_right(spans, position, key=lambda span: span[0]) - 1
    return i >= 0 and position < spans[i][1]


def _check(messages: Sequence[Message], more: tuple[str, ...] = ()) -> None:
    if not messages:
        raise UserError("messages: empty; a conversation has at least one message")
    for i, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise UserError(f"messages[{i}]: not an object with role and content")
        for key in message:
            if key not in ("role", "content", *more):
                hint = suggest(str(key), ("role", "content"))
                raise UserError(f"messages[{i}]: unknown field {key!r}{hint}")
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            hint = suggest(str(role), ROLES)
            raise UserError(f"messages[{i}].role: {role!r} is not one of {', '.join(ROLES)}{hint}")
        if not isinstance(content, str):
            raise UserError(f"messages[{i}].content: not a string")
        try:
            content.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"messages[{i}].content: not Unicode text ({error.reason} at {error.start})"
            ) from None


def _check_answers(messages: Sequence[Message]) -> None:
    for i, message in enumerate(messages):
        if message["role"] == "assistant" and not message["content"].strip():
            raise UserError(f"messages[{i}].content: empty; an assistant's turn has a text")
    if all(message["role"] != "assistant" for message in messages):
        raise UserError("messages: no assistant turn, so there is nothing to train on")


# --- a rendered conversation as a terminal shows it ----------------------------------------------


def coloured(tokenizer: Tokenizer, rendered: Rendered) -> str:
    """The text in ANSI colours: trained tokens green, context dim, special tokens in reverse."""
    return "".join(
        _painted(text, trained, special) for text, trained, special in _runs(tokenizer, rendered)
    )


def legend() -> str:
    """One line that explains the colours of `coloured`."""
    return "  ".join(
        [
            _painted("trained on", True, False),
            _painted("context", False, False),
            _painted("special token", False, True),
        ]
    )


def _runs(tokenizer: Tokenizer, rendered: Rendered) -> Iterator[tuple[str, bool, bool]]:
    special_ids = set(tokenizer.special_tokens.values())
    kinds = [
        (trained, id in special_ids)
        for id, trained in zip(rendered.ids, rendered.loss_mask, strict=True)
    ]
    shown, end = "", 0
    for (trained, special), run in groupby(kinds):
        end += len(list(run))
        # A run decoded alone may lose the space before it, so decode from the start.
        text = tokenizer.decode(rendered.ids[:end], skip_special=False)
        yield text[len(shown) :], trained, special
        shown = text


def _painted(text: str, trained: bool, special: bool) -> str:
    colour = (_TRAINED if trained else _CONTEXT) + (_SPECIAL if special else "")
    # An escape character from the text would speak to the terminal.
    return colour + text.replace("\x1b", "␛") + _RESET
