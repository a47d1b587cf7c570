"""Data files -> items: the raw values of a file, one after the other, each with its position.

There is no schema here yet (see `vcjax.data.importers`). The formats are JSONL, a JSON array, lines
of text, CSV and TSV, Parquet, the Arrow files that `datasets` writes, and web archives. All are
streamed: memory doesn't grow with the file. Text is UTF-8, UTF-16 or GB 18030 (see
`vcjax.data.encodings`).
"""

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, BinaryIO

from vcjax.core.errors import UserError
from vcjax.data.encodings import UTF8, detect_encoding, utf8_lines
from vcjax.data.files import BROKEN, TFDS, DataFile
from vcjax.data.tfds_source import read_rows
from vcjax.data.warc import BrokenWarc, read_pages
from vcjax.text.language import COMMON_HAN

BLOCK = 1 << 16  # characters of a JSON array that are read at once
CELL = 1 << 26  # characters; a quote that is never closed would take the rest of the file
LINE = 1 << 26  # bytes; a longer one is a bad item, and isn't in memory
ROWS = 256  # of an Arrow batch that are made Python objects at once
_SPACE = " \t\r\n"

AUTO, BY_LINE, BY_PARAGRAPH, BY_DOCUMENT = "auto", "line", "paragraph", "document"
SAMPLE_BY = (AUTO, BY_LINE, BY_PARAGRAPH, BY_DOCUMENT)
"""What of a text file is one item, in the words of the text loader of `datasets`."""
_LOOKED_AT = 1000  # lines at the start of a text file, by which `auto` decides
_LEAST_GAPS = 0.1
"""For each line with text, of blank lines between two of them, in a running text."""


@dataclass(frozen=True, slots=True)
class Item:
    """One value of a file.

    Attributes:
      number: line of a text file or of a CSV row's start; item or row number elsewhere; from 1.
      position: the number as a person reads it: `12` or `item 12`.
      value: the parsed value; None if it could not be parsed.
      source: the bytes of its line in the file; None where there are no lines.
      error: why it could not be parsed, if it could not.
    """

    number: int
    position: str
    value: Any
    source: bytes | None = None
    error: str | None = None

    @property
    def raw(self) -> str:
        """The text of its line in the file, or the value as JSON."""
        if self.source is not None:
            return self.source.decode("utf-8", errors="replace").rstrip("\r\n")
        return json.dumps(self.value, ensure_ascii=False, default=str)


def read_items(file: DataFile, sample_by: str = BY_LINE) -> Iterator[Item]:
    """Streams the items of a file; a malformed line is an Item with an error.

    Args:
      sample_by: what of a text file is one item; see `sampled_by`.

    Raises:
      UserError: a file that can't be opened or is broken as a whole.
    """
    if file.format == TFDS:
        for number, value in enumerate(read_rows(file.name), start=1):
            yield Item(number, f"row {number}", value)
        return
    # Before the file is opened: some stores have one position for all who read a file.
    encoding = "" if file.format in _BINARY else encoding_of(file)
    by = sampled_by(file, sample_by)
    with file.open() as stream:
        try:
            if file.format in _BINARY:
                yield from _BINARY[file.format](file, stream)
            elif file.format in (".csv", ".tsv"):
                yield from _read_csv(file, stream, encoding)
            elif file.format == ".txt" and by != BY_LINE:
                yield from _read_texts(stream, encoding, by)
            elif file.format == ".txt":
                yield from _read_lines(file, stream, encoding, lambda text: {"text": text.strip()})
            elif _starts_array(file, stream, encoding):
                yield from _read_array(file, stream, encoding)
            else:
                yield from _read_lines(file, stream, encoding, json.loads)
        except BROKEN as error:
            if not file.compression:
                raise
            reason = " ".join(str(error).split())
            kind = file.compression.removeprefix(".")
            kind = "gzip" if kind == "gz" else kind
            raise UserError(f"{file.name}: not a whole {kind} file ({reason})") from None


# --- lines and arrays ----------------------------------------------------------------------------


def encoding_of(file: DataFile) -> str:
    """The encoding of a text file, also where only a part of it is read."""
    with replace(file, start=0, stop=0).open() as stream:
        return detect_encoding(stream)


def sampled_by(file: DataFile, sample_by: str) -> str:
    """What of a text file is one item: a `line`, a `paragraph` that blank lines end, or all of it,
    the `document`.

    `auto` is a line, as in the dumps that have a document on each; but where blank lines stand
    between the lines, these are a text's paragraphs and verses, and the file is one document.
    """
    if file.format != ".txt" or sample_by != AUTO:
        return BY_LINE if file.format != ".txt" else sample_by
    encoding, texts, gaps, blank = encoding_of(file), 0, 0, False
    # Of the whole file, also where only a part of it is read.
    with replace(file, start=0, stop=0).open() as stream:
        try:
            for line in islice(utf8_lines(stream, encoding, LINE), _LOOKED_AT):
                if not isinstance(line, int) and not line.strip():
                    blank = True
                    continue
                gaps += blank and texts > 0
                texts, blank = texts + 1, False
        except BROKEN:
            pass  # whoever reads the file reports it
    return BY_DOCUMENT if gaps and gaps >= _LEAST_GAPS * texts else BY_LINE


def _read_texts(stream: io.BufferedReader, encoding: str, by: str) -> Iterator[Item]:
    """Texts of several lines; the number of each is that of its first line."""
    lines: list[str] = []
    first = size = 0

    def text() -> Iterator[Item]:
        if size > LINE:
            error = f"a {by} of {size:,} bytes; at most {LINE:,} are read (see sample_by)"
            yield Item(first, str(first), None, b"", error)
        elif found := "\n".join(lines).strip():
            yield Item(first, str(first), {"text": found})

    for number, line in enumerate(utf8_lines(stream, encoding, LINE), start=1):
        if isinstance(line, int):
            yield _too_long(number, line)
            continue
        if by == BY_PARAGRAPH and not line.strip():
            yield from text()
            lines, size = [], 0
            continue
        try:
            decoded = line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as failure:
            yield Item(number, str(number), None, line, f"not UTF-8 ({failure.reason})")
            continue
        first = first if size else number
        size += len(line)
        if size <= LINE:  # what will be refused needn't be kept
            lines.append(decoded)
    yield from text()


def _too_long(number: int, size: int) -> Item:
    error = f"a line of {size:,} bytes; at most {LINE:,} are read"
    return Item(number, str(number), None, b"", error)


def _starts_array(file: DataFile, stream: io.BufferedReader, encoding: str) -> bool:
    start = stream.peek(4096)
    # The last character may be cut in two.
    text = codecs.getincrementaldecoder(encoding)("replace").decode(start)
    text = text.removeprefix("\ufeff").lstrip()
    # A line of JSONL may be an array too; it is then a bad record, and not all there is.
    return text.startswith("[") and (file.format == ".json" or text[1:].lstrip()[:1] == "{")


def _read_lines(
    file: DataFile, stream: io.BufferedReader, encoding: str, parse: Callable[[str], Any]
) -> Iterator[Item]:
    for number, line in enumerate(utf8_lines(stream, encoding, LINE), start=file.lines + 1):
        if isinstance(line, int):
            yield _too_long(number, line)
            continue
        if not line.strip():
            continue
        value, error = None, None
        try:
            value = parse(line.decode("utf-8"))
        except UnicodeDecodeError as failure:
            error = f"not UTF-8 ({failure.reason})"
        except json.JSONDecodeError as failure:
            error = f"not JSON ({failure.msg} at column {failure.colno})"
        except RecursionError:
            error = "not JSON that can be read (nested too deeply)"
        yield Item(number, str(number), value, line, error)


def _read_array(file: DataFile, stream: BinaryIO, encoding: str) -> Iterator[Item]:
    for number, value in enumerate(_Array(file, stream, encoding), start=1):
        yield Item(number, f"item {number}", value)


class _Array:
    """The values of a JSON array, of which no more is in memory than the value that is read."""

    def __init__(self, file: DataFile, stream: BinaryIO, encoding: str) -> None:
        self._file, self._stream = file, stream
        self._decoder = json.JSONDecoder()
        encoding = "utf-8-sig" if encoding == UTF8 else encoding
        self._characters = codecs.getincrementaldecoder(encoding)()
        self._text, self._at = "", 0
        self._lines = 1  # that are over, before `_text`
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
                raise UserError(f"{self._file.name}: not UTF-8 ({error.reason})") from None
            if text:
                self._lines += self._text.count("\n", 0, self._at)
                self._text, self._at = self._text[self._at :] + text, 0
                return True
        return False

    def _refuse(self, why: str, position: int) -> None:
        line = self._lines + self._text.count("\n", 0, position)
        raise UserError(f"{self._file.name}:{line}: not JSON ({why})")


# --- tables --------------------------------------------------------------------------------------


def _read_csv(file: DataFile, stream: BinaryIO, encoding: str) -> Iterator[Item]:
    """Rows as dicts by the names in the first line; an empty cell is None."""
    csv.field_size_limit(CELL)  # Python's default refuses fields over 128 KiB
    if not encoding.startswith("utf-16"):
        encoding = _encoding(file)
    text = io.TextIOWrapper(stream, encoding=encoding, newline="")
    rows = csv.reader(text, strict=True, delimiter="\t" if file.format == ".tsv" else ",")
    header = None
    start = 1
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            yield Item(start, str(start), None, b"", f"not CSV ({error})")
            row = []
        if row is None:
            return
        if header is None:
            header = [name.strip() for name in row]
        elif row:  # a blank line is an empty row
            if len(row) == len(header):
                value = dict(zip(header, (cell or None for cell in row), strict=True))
                yield Item(start, str(start), value)
            else:
                problem = f"{len(row)} fields where the header names {len(header)}"
                yield Item(start, str(start), row, None, problem)
        start = rows.line_num + 1


def _encoding(file: DataFile) -> str:
    """UTF-8, or GB 18030, in which spreadsheet programs save Chinese tables.

    Nearly any bytes can be read as GB 18030, so it is believed only of a file whose column names
    are then Chinese.
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


def _read_parquet(file: DataFile, stream: BinaryIO) -> Iterator[Item]:
    """Rows as dicts, read page by page: a row group may be larger than the memory."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(stream, buffer_size=1 << 20, pre_buffer=False) as table:
            yield from _read_batches(table.iter_batches(batch_size=ROWS))
    except pyarrow.ArrowException as error:
        raise UserError(f"{file.name}: not a Parquet file ({_first_line(error)})") from None


def _read_arrow(file: DataFile, stream: BinaryIO) -> Iterator[Item]:
    """Rows as dicts of Arrow's IPC formats: the stream, as `datasets` writes it, or the file."""
    import pyarrow

    try:
        # Arrow's two IPC formats share an ending: a file begins with its magic string, a stream
        # doesn't.
        magic = stream.read(6)
        stream.seek(0)
        if magic == b"ARROW1":
            with pyarrow.ipc.open_file(stream) as table:
                batches = (table.get_batch(n) for n in range(table.num_record_batches))
                yield from _read_batches(batches)
        else:
            with pyarrow.ipc.open_stream(stream) as table:
                yield from _read_batches(table)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{file.name}: not a whole Arrow file ({_first_line(error)})") from None


def _read_batches(batches: Any) -> Iterator[Item]:
    number = 0
    for batch in batches:
        for start in range(0, batch.num_rows, ROWS):
            for value in batch.slice(start, ROWS).to_pylist():
                number += 1
                yield Item(number, f"row {number}", value)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _read_warc(file: DataFile, stream: BinaryIO) -> Iterator[Item]:
    """The pages of a web archive; the address of each is its id."""
    try:
        for page in read_pages(stream, LINE):
            value = {"text": page.text, "id": page.uri or None}
            yield Item(page.number, f"record {page.number}", value, error=page.error)
    except BrokenWarc as error:
        raise UserError(f"{file.name}: not a whole WARC file ({error})") from None


_BINARY = {
    ".parquet": _read_parquet,
    ".arrow": _read_arrow,
    ".warc": _read_warc,
    ".wet": _read_warc,
}
