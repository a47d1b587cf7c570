"""The encoding of a text file: UTF-8, UTF-16 or GB 18030, and its bytes as UTF-8 lines.

Nearly any bytes can be read as GB 18030, and many as UTF-16. A file is believed to be UTF-8 unless
its lines aren't, and to be GB 18030 only where its lines then are Chinese. Whatever is left over is
read as UTF-8, and each of its lines that isn't is a bad one.
"""

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from vcjax.core.errors import UserError
from vcjax.data.files import BROKEN, DataFile
from vcjax.text.language import COMMON_HAN

UTF8, GB18030 = "utf-8", "gb18030"
_BLOCK = 1 << 20
_ENOUGH = 1000  # lines with bytes beyond ASCII, by which an encoding is decided
_LEAST_SHARE = 0.5  # of these lines, which fit it
_LEAST_CHINESE = 0.5  # of a line's characters beyond ASCII, for GB 18030
_LEAST_ZEROS = 0.01  # of the bytes at even, or at odd offsets; Chinese prose has its line ends
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_MARKS = ((codecs.BOM_UTF8, UTF8), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def encoding_of(file: DataFile) -> str:
    """The encoding of a text file, also where only a part of it is read; see `detect_encoding`."""
    with replace(file, start=0, stop=0).open() as stream:
        return detect_encoding(stream)


def detect_encoding(stream: Any) -> str:
    """Reads from the start until the encoding is clear: `utf-8`, `utf-16[-le|-be]` or `gb18030`.

    Args:
      stream: with `read1`; where it breaks off, what came before decides.
    """
    start = _read(stream)
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    if wide := _utf16(start):
        return wide
    lines = utf8 = chinese = 0
    for line in _lines_beyond_ascii(start, stream):
        lines += 1
        if _decoded(line, UTF8) is not None:
            utf8 += 1
        elif (text := _decoded(line, GB18030)) is not None:
            beyond = len(_BEYOND_ASCII.findall(text))
            chinese += len(COMMON_HAN.findall(text)) >= _LEAST_CHINESE * beyond
        if lines == _ENOUGH:
            break
    return GB18030 if utf8 < _LEAST_SHARE * lines <= chinese else UTF8


def table_encoding(file: DataFile) -> str:
    """UTF-8, or GB 18030, in which spreadsheet programs save Chinese tables.

    Nearly any bytes can be read as GB 18030, so it is believed only of a file whose column names
    are then Chinese.

    Raises:
      UserError: it is neither.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with file.open() as stream:
            while block := stream.read(1 << 20):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        return "utf-8-sig"
    except UnicodeDecodeError as error:
        not_utf8 = error
    try:
        with file.open() as stream, io.TextIOWrapper(stream, encoding="gb18030") as text:
            chinese = COMMON_HAN.search(text.readline())
            while text.read(1 << 20):
                pass
    except UnicodeDecodeError:
        chinese = None
    if chinese is None:
        raise UserError(f"{file.name}: not UTF-8 ({not_utf8.reason}); save the table as UTF-8")
    return "gb18030"


def utf8_lines(stream: io.BufferedReader, encoding: str, most: int) -> Iterator[bytes | int]:
    """Yields the lines of a file as UTF-8, without a byte order mark at its start.

    Bytes that aren't of the encoding stay what they are, which is no UTF-8 then.

    Args:
      stream: at the start of the file, or of a line.
      most: bytes of a line; of a longer one its length is yielded, and no more of it than `most`
        is in memory.
    """
    if encoding.startswith("utf-16"):
        # Its line ends are two bytes; half a surrogate pair becomes what UTF-8 doesn't allow.
        reader = codecs.getreader(encoding)(stream, "surrogatepass")
        stream = io.BufferedReader(_Encoded(reader), _BLOCK)
    first = True
    while line := stream.readline(most + 1):
        if len(line) > most:
            length = len(line)
            while not line.endswith(b"\n") and (line := stream.readline(most)):
                length += len(line)
            yield length
        elif encoding == GB18030:
            text = _decoded(line, GB18030)
            yield line if text is None else text.encode()
        else:
            yield line.removeprefix(codecs.BOM_UTF8) if first else line
        first = False


class _Encoded(io.RawIOBase):
    """The text of a reader as UTF-8 bytes."""

    def __init__(self, reader: codecs.StreamReader) -> None:
        self._reader, self._waiting = reader, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        if not self._waiting:
            try:
                text = self._reader.read(_BLOCK >> 2)
            except UnicodeDecodeError:  # half a character at the end of the file
                text = ""
            self._waiting = text.encode(UTF8, "surrogatepass")
        found = self._waiting[: len(buffer)]
        self._waiting = self._waiting[len(found) :]
        buffer[: len(found)] = found
        return len(found)


def _utf16(start: bytes) -> str:
    # ASCII, spaces and line ends have a zero in one of their bytes; Chinese characters in none.
    even, odd = start[::2].count(0), start[1::2].count(0)
    least = _LEAST_ZEROS * len(start) / 2
    for zeros, other, encoding in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if zeros > least and zeros > 4 * other:
            try:  # the block may end within a character
                codecs.getincrementaldecoder(encoding)().decode(start)
            except UnicodeDecodeError:
                continue
            return encoding
    return ""


def _read(stream: Any) -> bytes:
    parts, left = [], _BLOCK
    try:
        while left and (part := stream.read1(left)):
            parts.append(part)
            left -= len(part)
    except BROKEN:
        pass  # whoever reads the file reports it
    return b"".join(parts)


def _lines_beyond_ascii(start: bytes, stream: Any) -> Iterator[bytes]:
    """Yields the lines that aren't ASCII, as far as they are within one block."""
    block = start
    while block:
        if not block.isascii():
            yield from (line for line in block.split(b"\n")[:-1] if not line.isascii())
        # The last line of a block is with the next one, unless it is a whole block.
        rest = block[block.rfind(b"\n") + 1 :]
        after = _read(stream)
        if not after and rest and not rest.isascii():
            yield rest
        block = (rest if len(rest) < _BLOCK else b"") + after if after else b""


def _decoded(line: bytes, encoding: str) -> str | None:
    try:
        return line.decode(encoding)
    except UnicodeDecodeError:
        return None
