"""A conversation to token ids and the loss mask of its assistant turns, in one pass.

The whole conversation is rendered to one string and encoded at once, so that ids are those of the
whole text for any template; tokens are masked by where their characters lie in that string.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vcjax.foundation.errors import UserError, suggest
from vcjax.text.chat_text import ChatText, Message, Span, render_chat_text
from vcjax.text.encoder import Token, unused_characters
from vcjax.text.templates import default_template, warn_of_missing_tokens
from vcjax.text.tokenizer import Tokenizer

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Rendered:
    """Token ids, and for each whether it is trained on (the assistant wrote it)."""

    ids: tuple[int, ...]
    loss_mask: tuple[bool, ...]


def render_conversation(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool = False,
    template: str | None = None,
) -> Rendered:
    """Renders `messages` (`{"role", "content"}` each) to ids and an assistant-only loss mask.

    The mask covers every assistant turn with its end-of-turn token, not the newline after it.
    BOS comes once, if the template writes it or the tokenizer adds it. Special tokens come from
    the template alone: their strings in a message's content are encoded as text.

    No token straddles the start or the end of an assistant turn: where one would (a content that
    begins with newlines, after a header that ends with one), the text is cut there, so that what
    comes before is encoded as it is when the model is asked to answer.

    Args:
        add_generation_prompt: end with the assistant's header, for the model to go on.
        template: Jinja source; by default the tokenizer's own, else `default_template`.

    Raises:
        UserError: an invalid message; no assistant turn and no generation prompt; a template that
            fails, or whose assistant turns can't be told from its renderings.
    """
    _check(messages, add_generation_prompt)
    if template is None:
        template = tokenizer.chat_template or default_template(tokenizer)
    warn_of_missing_tokens(tokenizer, template)
    chat = render_chat_text(tokenizer, template, messages, add_generation_prompt)
    ids, mask = _encode(tokenizer, chat)
    if tokenizer.adds_bos and ids[:1] != [tokenizer.bos_id]:
        ids, mask = [tokenizer.bos_id, *ids], [False, *mask]
    return Rendered(tuple(ids), tuple(mask))


def _encode(tokenizer: Tokenizer, chat: ChatText) -> tuple[list[int], list[bool]]:
    text = _without_inert(chat)
    tokens = tokenizer.encoder.parsed(text)
    boundaries = sorted({position for span in chat.assistant for position in span})
    straddles = any(_straddles(token, boundaries) for token in tokens)
    if not chat.inert and not straddles:
        return (
            [token.id for token in tokens],
            [_inside(token.start, chat.assistant) for token in tokens],
        )

    # Encode the text between special tokens and boundaries as plain text.
    special = [
        token
        for token in tokens  # a token may take in white space beside it, and <unk> stands for any
        if tokenizer.special_tokens.get(text[token.start : token.end].strip()) == token.id
    ]
    cuts = [Token(-1, b, b) for b in boundaries if not any(t.start < b < t.end for t in special)]
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


def _without_inert(chat: ChatText) -> str:
    """The text with a meaningless character for each one of the inert spans: same positions."""
    if not chat.inert:
        return chat.text
    blank = unused_characters(chat.text, 1)[0]
    parts, position = [], 0
    for start, end in chat.inert:
        parts += [chat.text[position:start], blank * (end - start)]
        position = end
    return "".join([*parts, chat.text[position:]])


def _straddles(token: Token, boundaries: list[int]) -> bool:
    i = bisect_right(boundaries, token.start)
    return i < len(boundaries) and boundaries[i] < token.end


def _inside(position: int, spans: tuple[Span, ...]) -> bool:
    i = bisect_right(spans, position, key=lambda span: span[0]) - 1
    return i >= 0 and position < spans[i][1]


def _check(messages: Sequence[Message], add_generation_prompt: bool) -> None:
    if not messages:
        raise UserError("messages: empty; a conversation has at least one message")
    for i, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise UserError(f"messages[{i}]: not an object with role and content")
        for key in message:
            if key not in ("role", "content"):
                hint = suggest(str(key), ("role", "content"))
                raise UserError(f"messages[{i}]: unknown field {key!r}{hint}")
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            hint = suggest(str(role), ROLES)
            raise UserError(f"messages[{i}].role: {role!r} is not one of {', '.join(ROLES)}{hint}")
        if not isinstance(content, str):
            raise UserError(f"messages[{i}].content: not a string")
        if role == "assistant" and not content.strip():
            raise UserError(f"messages[{i}].content: empty; an assistant's turn says something")
        try:
            content.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"messages[{i}].content: not Unicode text ({error.reason} at {error.start})"
            ) from None
    if not add_generation_prompt and all(m["role"] != "assistant" for m in messages):
        raise UserError("messages: no assistant turn, so there is nothing to train on")
