"""Conversations, and their renderings in the form that the tests compare."""

from collections.abc import Sequence

from vcjax.text.rendering import Rendered, render_prompt, render_samples
from vcjax.text.templates import Message
from vcjax.text.tokenizer import Tokenizer


def turns(*contents: str, system: str | None = None) -> list[dict]:
    """Messages of the user and the assistant in turn, after a system message if one is given."""
    first = [] if system is None else [{"role": "system", "content": system}]
    roles = ("user", "assistant") * len(contents)
    return first + [
        {"role": role, "content": content} for role, content in zip(roles, contents, strict=False)
    ]


SINGLE = turns("Hello, how are you?", "Fine.")
MULTI = turns("你好", "很好，谢谢。", "Hello 😀", " free\n", system="人人平等。")

# The shape of SmolLM2-Instruct's own template: no markers, a system prompt where none is given.
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SMOLLM2_MARKED = SMOLLM2.replace(
    "message['content'] + '<|im_end|>' + '\n' }}",
    "'' }}{% if message['role'] == 'assistant' %}{% generation %}"
    "{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}",
)


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
