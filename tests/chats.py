"""Renderings of conversations, in the form that the tests compare."""

from collections.abc import Sequence

from vcjax.text.rendering import Rendered, render_prompt, render_samples
from vcjax.text.templates import Message
from vcjax.text.tokenizer import Tokenizer


def sample(
    tokenizer: Tokenizer, messages: Sequence[Message], template: str | None = None
) -> Rendered:
    """The only sample of a conversation, in another template than the tokenizer's own if one is
    given."""
    (rendered,) = samples(tokenizer, messages, template)
    return rendered


def samples(
    tokenizer: Tokenizer, messages: Sequence[Message], template: str | None = None
) -> list[Rendered]:
    return render_samples(_in(tokenizer, template), messages)


def prompt(
    tokenizer: Tokenizer, messages: Sequence[Message], template: str | None = None
) -> tuple[int, ...]:
    return render_prompt(_in(tokenizer, template), messages)


def bracketed(tokenizer: Tokenizer, rendered: Rendered, brackets: str = "[]") -> str:
    """The decoded text, each trained run in brackets."""
    text, run, on = "", [], False
    for id, trained in [*zip(rendered.ids, rendered.loss_mask, strict=True), (None, None)]:
        if trained != on:
            piece = tokenizer.decode(run, skip_special=False)
            text += f"{brackets[0]}{piece}{brackets[1]}" if on else piece
            run, on = [], trained
        run.append(id)
    return text


def trained(tokenizer: Tokenizer, rendered: Rendered) -> str:
    """The text that a rendering trains on."""
    ids = [id for id, on in zip(rendered.ids, rendered.loss_mask, strict=True) if on]
    return tokenizer.decode(ids, skip_special=False)


def _in(tokenizer: Tokenizer, template: str | None) -> Tokenizer:
    return tokenizer if template is None else tokenizer.with_template(template)
