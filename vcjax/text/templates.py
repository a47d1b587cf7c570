"""Chat templates: run as transformers runs them, and the defaults for models that have none.

A rendering is the same on every day and in every thread. The default templates leave a message's
content as it is (no trimming): what is in the record is what is trained on.
"""

import logging
import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.runtime

# Private, but transformers gives its sandbox and its extensions in no other way.
from transformers.utils.chat_template_utils import _compile_jinja_template

from vcjax.core.errors import UserError, one_line
from vcjax.text.tokenizer import Tokenizer

_log = logging.getLogger(__name__)

# Needs <|start_header_id|>, <|end_header_id|> and <|eot_id|>; begins with the tokenizer's BOS.
LLAMA3 = """\
{{- bos_token -}}
{%- for message in messages -%}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' -}}
{%- if message['role'] == 'assistant' -%}
{%- generation -%}{{- message['content'] + '<|eot_id|>' -}}{%- endgeneration -%}
{%- else -%}
{{- message['content'] + '<|eot_id|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
{%- endif -%}
"""

# Needs <|im_start|> and <|im_end|>.
CHATML = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['role'] == 'assistant' -%}
{%- generation -%}{{- message['content'] + '<|im_end|>' -}}{%- endgeneration -%}
{%- else -%}
{{- message['content'] + '<|im_end|>' -}}
{%- endif -%}
{{- '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""

# The tokens that end a turn, besides a tokenizer's EOS.
END_OF_TURN = ("<|eot_id|>", "<|im_end|>")

_CONTROL_TOKEN = re.compile(r"<\|\w+\|>")
# Vocabulary -> the templates that were checked against it.
_checked: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
# Template, missing tokens and size of the vocabulary of what was warned of: a road reads the same
# tokenizer from the folder of every stage.
_warned: set[tuple[str, tuple[str, ...], int]] = set()

# Templates that print today's date get this one: a rendering must not depend on the day. It is the
# date on which Llama 3.1 and later templates fall back.
_TODAY = datetime(2024, 7, 26)

# What a template may raise: Jinja's own errors, `raise_exception` among them, and those of the
# Python operations that it asks for. A template is a part of the model, so a file of the user's.
_FAILURES = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)

Message = Mapping[str, Any]
"""Texts: role and content. In a prompt also an answer's `tool_calls` and a result's
`tool_call_id`; see `vcjax.text.rendering.render_tool_prompt`."""


def default_template(tokenizer: Tokenizer) -> str:
    """The template for a tokenizer without one: Llama 3's if it has the headers, else ChatML."""
    has_headers = tokenizer.backend.backend_tokenizer.token_to_id("<|start_header_id|>") is not None
    return LLAMA3 if has_headers else CHATML


def control_tokens(template: str) -> tuple[str, ...]:
    """The control tokens (`<|name|>`) that a template writes out, in order of appearance."""
    return tuple(dict.fromkeys(_CONTROL_TOKEN.findall(template)))


def warn_of_missing_tokens(tokenizer: Tokenizer, template: str) -> None:
    """Logs which control tokens will be ordinary text, once for all copies of a tokenizer."""
    vocabulary = tokenizer.backend.backend_tokenizer
    templates = _checked.setdefault(vocabulary, set())
    if template in templates:
        return
    templates.add(template)
    added = {token.content for token in tokenizer.backend.added_tokens_decoder.values()}
    missing = tuple(token for token in control_tokens(template) if token not in added)
    found = (template, missing, vocabulary.get_vocab_size())
    if missing and found not in _warned:
        _warned.add(found)
        _log.warning(
            "%s: the chat template's %s are not in the vocabulary; they are encoded as text",
            tokenizer.backend.name_or_path or "tokenizer",
            ", ".join(missing),
        )


class ChatTemplate:
    """A compiled chat template. Threads may share it: nothing changes while it renders."""

    def __init__(self, source: str, variables: Mapping[str, Any]):
        """Args:
        variables: what the template sees beside the messages.

        Raises:
          UserError: `source` isn't a template.
        """
        self._variables = {"tools": None, "documents": None, **variables}
        try:
            self._template = _compiled(source)
        except _FAILURES as error:
            raise UserError(f"chat template: not a Jinja template: {one_line(error)}") from error

    def render(
        self,
        messages: Sequence[Message],
        add_generation_prompt: bool,
        generation: tuple[str, str] = ("", ""),
    ) -> str:
        """The text of a conversation.

        Args:
          generation: what is written where a `{% generation %}` block begins and ends.

        Raises:
          UserError: the template refuses the messages, or fails on them.
        """
        try:
            return self._template.render(
                self._variables,
                messages=[dict(message) for message in messages],
                add_generation_prompt=add_generation_prompt,
                **{_GENERATION: generation},
            )
        except _FAILURES as error:
            roles = ", ".join(message["role"] for message in _few(messages)) or "no messages"
            hint = ""
            if any(message["role"] == "system" for message in messages):
                hint = (
                    "; if it has no system role, name the model with #system=first_user, which "
                    "puts the system message into the first question"
                )
            raise UserError(
                f"chat template: it fails on ({roles}): {one_line(error)}{hint}"
            ) from error


_GENERATION = "vcjax_generation"


class _GenerationMarkers(jinja2.ext.Extension):
    """`{% generation %}`: writes the marks that the rendering was given around what it encloses.

    transformers counts characters instead, which goes wrong within macros and `{% set %}` blocks,
    and keeps the counts in the template, which threads share.
    """

    tags = {"generation"}  # noqa: RUF012 (Jinja's own attribute)
    priority = 101  # before transformers' extension of the same tag

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        """See `jinja2.ext.Extension`."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("_enclosed", [jinja2.nodes.ContextReference()])
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _enclosed(self, context: jinja2.runtime.Context, caller: Callable[[], str]) -> str:
        start, end = context.resolve(_GENERATION)
        return start + caller() + end


@lru_cache(maxsize=64)
def _compiled(source: str) -> jinja2.Template:
    """Compiles in transformers' sandbox, with a fixed date."""
    environment = _compile_jinja_template("").environment.overlay(extensions=[_GenerationMarkers])
    environment.globals = {**environment.globals, "strftime_now": _TODAY.strftime}
    return environment.from_string(source)


def _few(messages: Sequence[Message]) -> Sequence[Message]:
    if len(messages) <= 8:
        return messages
    return [*messages[:4], {"role": f"... {len(messages) - 6} more ..."}, *messages[-2:]]
