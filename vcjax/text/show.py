"""A rendered conversation as a terminal shows it: what is trained on, what is context."""

from collections.abc import Iterator
from itertools import groupby

from vcjax.text.rendering import Rendered
from vcjax.text.tokenizer import Tokenizer

_RESET = "\x1b[0m"
_TRAINED = "\x1b[32m"  # green
_CONTEXT = "\x1b[2m"  # dim
_SPECIAL = "\x1b[7m"  # reverse video, with either colour


def coloured(tokenizer: Tokenizer, rendered: Rendered) -> str:
    """The text in ANSI colours: trained tokens green, context dim, special tokens in reverse."""
    return "".join(
        _painted(text, trained, special) for text, trained, special in _runs(tokenizer, rendered)
    )


def legend() -> str:
    """One line that says what the colours of `coloured` mean."""
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
        # A run decoded alone may lose the space before it, so decode from the beginning.
        text = tokenizer.decode(rendered.ids[:end], skip_special=False)
        yield text[len(shown) :], trained, special
        shown = text


def _painted(text: str, trained: bool, special: bool) -> str:
    colour = (_TRAINED if trained else _CONTEXT) + (_SPECIAL if special else "")
    # An escape character from the text would speak to the terminal.
    return colour + text.replace("\x1b", "␛") + _RESET
