"""Raw items of a data file, one after the other, with the place of each: no schema here yet."""

import codecs
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from vcjax.core.errors import UserError
from vcjax.data.files import BROKEN, DataFile

BLOCK = 1 << 16  # characters of a JSON array that are read at once
_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Item:
    """One value of a file.

    Attributes:
      number: line of a text file or of a CSV row's start; item or row number elsewhere; from 1.
      place: the number as a person reads it: `12` or `item 12`.
      value: the parsed value; None if it could not be parsed.
      source: the line as it stands in the file; None where there are no lines.
      fault: why it could not be parsed, if it could not.
    """

    number: int
    place: str
    value: Any
    source: bytes | None = None
    fault: str | None = None

    @property
    def raw(self) -> str:
        """The text as it stands in the file, or the value as JSON."""
        if self.source is not None:
            return self.source.decode("utf-8", errors="replace").rstrip("\r\n")
        return json.dumps(self.value, ensure_ascii=False, default=str)


def read_items(file: DataFile) -> Iterator[Item]:
    """Streams the items of a file; memory doesn't grow with the file.

    A malformed line is an Item with a fault.

    Raises:
      UserError: a file that can't be opened or is broken as a whole.
    """
    # Here, as each of these modules needs `Item`.
    from vcjax.data.tables import read_arrow, read_csv, read_parquet

    binary = {".parquet": read_parquet, ".arrow": read_arrow}
    with file.open() as stream:
        if file.format in binary:
            yield from binary[file.format](file, stream)
            return
        try:
            if file.format in (".csv", ".tsv"):
                yield from read_csv(file, stream)
            elif file.format == ".txt":
                yield from _lines(stream, lambda text: {"text": text.strip()})
            elif _starts_array(file, stream):
                yield from _array(file, stream)
            else:
                yield from _lines(stream, json.loads)
        except BROKEN as error:
            if not file.compression:
                raise
            reason = " ".join(str(error).split())
            kind = file.compression.removeprefix(".")
            kind = "gzip" if kind == "gz" else kind
            raise UserError(f"{file.name}: not a whole {kind} file ({reason})") from None


def _starts_array(file: DataFile, stream: io.BufferedReader) -> bool:
    start = stream.peek(4096).removeprefix(codecs.BOM_UTF8).lstrip()
    # A line of JSONL may be an array too; it is then a bad record, and not all there is.
    return start.startswith(b"[") and (file.format == ".json" or start[1:].lstrip()[:1] == b"{")


def _lines(stream: BinaryIO, parse: Callable[[str], Any]) -> Iterator[Item]:
    for number, line in enumerate(stream, start=1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if not line.strip():
            continue
        value, fault = None, None
        try:
            value = parse(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            fault = f"not UTF-8 ({error.reason})"
        except json.JSONDecodeError as error:
            fault = f"not JSON ({error.msg} at column {error.colno})"
        except RecursionError:
            fault = "not JSON that can be read (nested too deeply)"
        yield Item(number, str(number), value, line, fault)


def _array(file: DataFile, stream: BinaryIO) -> Iterator[Item]:
    for number, value in enumerate(_Array(file, stream), start=1):
        yield Item(number, f"item {number}", value)


class _Array:
    """The values of a JSON array, of which no more is in memory than the value that is read."""

    def __init__(self, file: DataFile, stream: BinaryIO) -> None:
        self._file, self._stream = file, stream
        self._decoder = json.JSONDecoder()
        self._utf8 = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._at = "", 0
        self._lines = 1  # that are over, before `_text`
        self._read = 0
        self._ended = False

    def __iter__(self) -> Iterator[Any]:
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
                # It may go on in what isn't read yet; twice as much of it each time.
                if not self._more(size):
                    self._refuse(error.msg, error.pos)
            except RecursionError:
                self._refuse("nested too deeply", self._at)
            else:
                # A number may go on behind the block; anything else is whole.
                if end < len(self._text) or not self._more(size):
                    self._at = end
                    return value
            size *= 2

    def _more(self, size: int = BLOCK) -> bool:
        """Reads on; what is done with is let go of. Returns whether there was anything."""
        while not self._ended:
            block = self._stream.read(size)
            self._read += len(block)
            self._ended = not block
            try:
                text = self._utf8.decode(block, final=self._ended)
            except UnicodeDecodeError as error:
                raise UserError(f"{self._file.name}: not UTF-8 ({error.reason})") from None
            if text:
                self._lines += self._text.count("\n", 0, self._at)
                self._text, self._at = self._text[self._at :] + text, 0
                return True
        return False

    def _refuse(self, why: str, position: int) -> None:
        line = self._lines + self._text.count("\n", 0, position)
        raise UserError(f"{self._file.name}:{line}: not JSON ({why})")
