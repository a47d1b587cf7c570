"""Chat templates for base models that have none, and the check that a vocabulary has their tokens.

Both leave a message's content as it is (no trimming): what is in the record is what is trained on.
"""

import logging
import re
import weakref

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


def default_template(tokenizer: Tokenizer) -> str:
    """The template for a tokenizer without one: Llama 3's if it has the headers, else ChatML."""
    has_headers = tokenizer.backend.backend_tokenizer.token_to_id("<|start_header_id|>") is not None
    return LLAMA3 if has_headers else CHATML


def control_tokens(template: str) -> tuple[str, ...]:
    """The control tokens (`<|name|>`) that a template writes out, in order of appearance."""
    return tuple(dict.fromkeys(_CONTROL_TOKEN.findall(template)))


def warn_of_missing_tokens(tokenizer: Tokenizer, template: str) -> None:
    """Logs, once per tokenizer and template, which control tokens will be ordinary text."""
    vocabulary = tokenizer.backend.backend_tokenizer
    templates = _checked.setdefault(vocabulary, set())
    if template in templates:
        return
    templates.add(template)
    added = {token.content for token in tokenizer.backend.added_tokens_decoder.values()}
    missing = [token for token in control_tokens(template) if token not in added]
    if missing:
        _log.warning(
            "%s: the chat template's %s are not in the vocabulary; they are encoded as text",
            tokenizer.backend.name_or_path or "tokenizer",
            ", ".join(missing),
        )
