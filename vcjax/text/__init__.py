"""Floor 1: text to ids and back: tokenizers, and chat rendering to (ids, loss mask) in one pass."""

from vcjax.text.rendering import Rendered, render_last_turn, render_prompt, render_samples
from vcjax.text.templates import default_template
from vcjax.text.tokenizer import MissingTokenizer, Tokenizer, load_tokenizer

__all__ = [
    "MissingTokenizer",
    "Rendered",
    "Tokenizer",
    "default_template",
    "load_tokenizer",
    "render_last_turn",
    "render_prompt",
    "render_samples",
]
