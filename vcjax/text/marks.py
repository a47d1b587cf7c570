"""Marks: strings that nobody can guess, which therefore are in no text, to find positions again.

A text may contain any character of Unicode, so that no fixed character or string can be kept for
use inside the program. Marks are drawn at random (Python's `secrets`) from a private-use plane, 128
bits of them, and never leave the process: nothing that is written depends on which ones they are.
"""

import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

_PLANE = 0xF0000  # 65,534 private-use characters, so 16 bits each
_CHARACTERS = 8

Span = tuple[int, int]
"""Characters of a text, half-open."""


def new_mark(*texts: str) -> str:
    """A string that is in none of `texts`."""
    while True:
        mark = "".join(chr(_PLANE + secrets.randbelow(0xFFFE)) for _ in range(_CHARACTERS))
        if not any(mark in text for text in texts):
            return mark


class Marks:
    """The marks of one conversation: those of answers and of `{% generation %}` blocks, and those
    that replace special tokens' strings in contents.

    Attributes:
      start, reply, end: of an answer's content, of what follows its reasoning, and of its end.
      generation_start, generation_end: of what a template's `{% generation %}` block encloses.
    """

    def __init__(self, special: Mapping[str, int], template: str, values: Any):
        """Args: `values` are all that the template is given, of the types that JSON has."""
        contents = "\0".join(_texts(values))
        self._mark = new_mark(contents, template)
        names = ("start", "reply", "end", "generation_start", "generation_end")
        self.start, self.reply, self.end, self.generation_start, self.generation_end = map(
            self._numbered, range(len(names))
        )
        found = [string for string in special if string in contents]
        self._replacements = {
            string: self._numbered(number) for number, string in enumerate(found, len(names))
        }
        self._strings = {mark: string for string, mark in self._replacements.items()}
        self._hidden = any_of(found)

    @cached_property
    def _pattern(self) -> re.Pattern:
        return re.compile(re.escape(self._mark) + ".", re.DOTALL)

    def hide(self, value: Any) -> Any:
        """A value of `values`, with marks for special tokens' strings in all of its texts."""
        if not self._replacements:
            return value
        return _mapped(partial(self._hidden.sub, lambda match: self._replacements[match[0]]), value)

    def take_out(self, text: str) -> tuple[str, dict[str, list[int]]]:
        """The text without the marks that replace nothing, and the positions of each of them."""
        parts: list[str] = []
        at: dict[str, list[int]] = {}
        position = taken = 0
        for match in self._pattern.finditer(text):
            if match[0] not in self._strings:
                parts.append(text[position : match.start()])
                at.setdefault(match[0], []).append(match.start() - taken)
                position, taken = match.end(), taken + len(match[0])
        return "".join([*parts, text[position:]]), at

    def reveal(
        self, text: str, spans: Sequence[Span]
    ) -> tuple[str, tuple[Span, ...], tuple[Span, ...]]:
        """The text with special tokens' strings instead of their marks, where `spans` of the text
        are then, and where these strings are."""
        inert: list[Span] = []
        # (position, how much further everything from it on is)
        shifts: list[tuple[int, int]] = [(0, 0)]
        parts: list[str] = []
        position = 0
        for match in self._pattern.finditer(text):
            string, shift = self._strings[match[0]], shifts[-1][1]
            parts += [text[position : match.start()], string]
            inert.append((match.start() + shift, match.start() + shift + len(string)))
            shifts.append((match.end(), shift + len(string) - len(match[0])))
            position = match.end()
        # Spans are sorted, so that one pass over the shifts is enough.
        moved, after = [], 0
        for edge in (edge for span in spans for edge in span):
            while after + 1 < len(shifts) and shifts[after + 1][0] <= edge:
                after += 1
            moved.append(edge + shifts[after][1])
        pairs = tuple(zip(moved[::2], moved[1::2], strict=True))
        return "".join([*parts, text[position:]]), pairs, tuple(inert)

    def _numbered(self, number: int) -> str:
        # A character of the other private-use plane, which is in no mark.
        return self._mark + chr(0x100000 + number)


def any_of(strings: Sequence[str] | set[str]) -> re.Pattern:
    """Matches any of the strings, a longer one before those that it contains."""
    return re.compile("|".join(map(re.escape, sorted(strings, key=lambda s: (-len(s), s)))))


def _texts(value: Any) -> Iterator[str]:
    """All texts in what JSON may have, the names of fields among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield name
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _mapped(function: Callable[[str], str], value: Any) -> Any:
    """The same with each of its `_texts` replaced."""
    if isinstance(value, str):
        return function(value)
    if isinstance(value, Mapping):
        return {function(name): _mapped(function, each) for name, each in value.items()}
    return [_mapped(function, each) for each in value] if isinstance(value, list) else value
