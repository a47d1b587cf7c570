"""The values of a JSON array one after the other, of a file that is larger than the memory."""

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from vcjax.core.errors import UserError
from vcjax.data.encodings import UTF8

BLOCK = 1 << 16  # characters that are read at once
_SPACE = " \t\r\n"


class JsonArray:
    """Iterates over the values; no more is in memory than the value that is read."""

    def __init__(self, name: str, stream: BinaryIO, encoding: str) -> None:
        """Args: `name` of the file, for errors; `encoding` of its text."""
        self._name, self._stream = name, stream
        self._decoder = json.JSONDecoder()
        encoding = "utf-8-sig" if encoding == UTF8 else encoding
        self._characters = codecs.getincrementaldecoder(encoding)()
        self._text, self._at = "", 0
        self._lines = 1  # that are over, before `_text`
        self._ended = False

    def __iter__(self) -> Iterator[Any]:
        """Reads the array once. Raises: UserError with the line where it isn't JSON."""
        self._expect("[")
        if self._peek() == "]":
            self._at += 1
        else:
            yield self._value()
            while self._expect(",]") == ",":
                yield self._value()
        if self._peek():
            self._refuse("Extra data", self._at)

    def _peek(self) -> str:
        """The next character that isn't white space; '' at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _expect(self, characters: str) -> str:
        found = self._peek()
        if not found or found not in characters:
            wanted = " or ".join(f"'{character}'" for character in characters)
            self._refuse(f"Expecting {wanted}", self._at)
        self._at += 1
        return found

    def _value(self) -> Any:
        self._peek()
        size = BLOCK
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # It may continue in what isn't read yet; each time twice as much is read.
                if not self._more(size):
                    self._refuse(error.msg, error.pos)
            except RecursionError:
                self._refuse("nested too deeply", self._at)
            else:
                # A number may continue after the block; anything else is complete.
                if end < len(self._text) or not self._more(size):
                    self._at = end
                    return value
            size *= 2

    def _more(self, size: int = BLOCK) -> bool:
        """Reads a block more and drops what was parsed; returns whether there was anything."""
        while not self._ended:
            block = self._stream.read(size)
            self._ended = not block
            try:
                text = self._characters.decode(block, final=self._ended)
            except UnicodeDecodeError as error:
                raise UserError(f"{self._name}: not UTF-8 ({error.reason})") from None
            if text:
                self._lines += self._text.count("\n", 0, self._at)
                self._text, self._at = self._text[self._at :] + text, 0
                return True
        return False

    def _refuse(self, why: str, position: int) -> None:
        line = self._lines + self._text.count("\n", 0, position)
        raise UserError(f"{self._name}:{line}: not JSON ({why})")
