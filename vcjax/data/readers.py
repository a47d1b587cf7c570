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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, BinaryIO

from vcjax.core.errors import UserError
from vcjax.data.encodings import encoding_of, table_encoding, utf8_lines
from vcjax.data.files import BROKEN, TFDS, DataFile
from vcjax.data.json_array import JsonArray
from vcjax.data.tfds_source import read_rows
from vcjax.data.warc import BrokenWarc, read_pages

CELL = 1 << 26  # characters; a quote that is never closed would take the rest of the file
LINE = 1 << 26  # bytes; a longer one is a bad item, and isn't in memory
ROWS = 256  # of an Arrow batch that are made Python objects at once

AUTO, BY_LINE, BY_PARAGRAPH, BY_DOCUMENT = "auto", "line", "paragraph", "document"
SAMPLE_BY = (AUTO, BY_LINE, BY_PARAGRAPH, BY_DOCUMENT)
"""What of a text file is one item, in the words of the text loader of `datasets`."""
_ARCHIVES = (".warc", ".wet")
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
        yield from _numbered("row", read_rows(file.name))
        return
    # Before the file is opened: some stores have one position for all who read a file.
    encoding = "" if file.format in (*_ROWS, *_ARCHIVES) else encoding_of(file)
    by = sampled_by(file, sample_by)
    with file.open() as stream:
        try:
            if file.format in _ROWS:
                yield from _numbered("row", _ROWS[file.format](file.name, stream))
            elif file.format in _ARCHIVES:
                yield from _read_warc(file, stream)
            elif file.format in (".csv", ".tsv"):
                yield from _read_csv(file, stream, encoding)
            elif file.format == ".txt" and by != BY_LINE:
                yield from _read_texts(stream, encoding, by)
            elif file.format == ".txt":
                yield from _read_lines(file, stream, encoding, lambda text: {"text": text.strip()})
            elif _starts_array(file, stream, encoding):
                yield from _numbered("item", JsonArray(file.name, stream, encoding))
            else:
                yield from _read_lines(file, stream, encoding, json.loads)
        except BROKEN as error:
            if not file.compression:
                raise
            reason = " ".join(str(error).split())
            kind = file.compression.removeprefix(".")
            kind = "gzip" if kind == "gz" else kind
            raise UserError(f"{file.name}: not a whole {kind} file ({reason})") from None


def _numbered(what: str, values: Iterable[Any]) -> Iterator[Item]:
    for number, value in enumerate(values, start=1):
        yield Item(number, f"{what} {number}", value)


# --- lines and texts -----------------------------------------------------------------------------


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


# --- tables and archives -------------------------------------------------------------------------


def _read_csv(file: DataFile, stream: BinaryIO, encoding: str) -> Iterator[Item]:
    """Rows as dicts by the names in the first line; an empty cell is None."""
    csv.field_size_limit(CELL)  # Python's default refuses fields over 128 KiB
    if not encoding.startswith("utf-16"):
        encoding = table_encoding(file)
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


def _parquet_rows(name: str, stream: BinaryIO) -> Iterator[dict[str, Any]]:
    """Rows as dicts, read page by page: a row group may be larger than the memory."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(stream, buffer_size=1 << 20, pre_buffer=False) as table:
            yield from _batch_rows(table.iter_batches(batch_size=ROWS))
    except pyarrow.ArrowException as error:
        raise UserError(f"{name}: not a Parquet file ({_first_line(error)})") from None


def _arrow_rows(name: str, stream: BinaryIO) -> Iterator[dict[str, Any]]:
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
                yield from _batch_rows(batches)
        else:
            with pyarrow.ipc.open_stream(stream) as table:
                yield from _batch_rows(table)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{name}: not a whole Arrow file ({_first_line(error)})") from None


def _batch_rows(batches: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        for start in range(0, batch.num_rows, ROWS):
            yield from batch.slice(start, ROWS).to_pylist()


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


_ROWS = {".parquet": _parquet_rows, ".arrow": _arrow_rows}
