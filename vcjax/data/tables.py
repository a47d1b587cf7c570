"""Rows of tables: CSV and TSV, Parquet, and the Arrow files that `datasets` writes."""

import codecs
import csv
import io
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from vcjax.core.errors import UserError
from vcjax.data.files import DataFile
from vcjax.data.items import Item

CELL = 1 << 26  # characters; a quote that is never closed would take the rest of the file
ROWS = 256  # of a batch that are made Python objects at once


def read_csv(file: DataFile, stream: BinaryIO) -> Iterator[Item]:
    """Rows as dicts by the names in the first line; an empty cell is None."""
    csv.field_size_limit(CELL)  # Python's default refuses fields over 128 KiB
    text = io.TextIOWrapper(stream, encoding=_encoding(file), newline="")
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
                fault = f"{len(row)} fields where the header names {len(header)}"
                yield Item(start, str(start), row, None, fault)
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
        fault = error
    try:
        with file.open() as stream, io.TextIOWrapper(stream, encoding="gb18030") as text:
            chinese = re.search(r"[\u4e00-\u9fff]", text.readline())
            while text.read(1 << 20):
                pass
    except UnicodeDecodeError:
        chinese = None
    if chinese is None:
        raise UserError(f"{file.name}: not UTF-8 ({fault.reason}); save the table as UTF-8")
    return "gb18030"


def read_parquet(file: DataFile, stream: BinaryIO) -> Iterator[Item]:
    """Rows as dicts, read page by page: a row group may be larger than the memory."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(stream, buffer_size=1 << 20, pre_buffer=False) as table:
            yield from _rows(table.iter_batches(batch_size=ROWS))
    except pyarrow.ArrowException as error:
        raise UserError(f"{file.name}: not a Parquet file ({_first_line(error)})") from None


def read_arrow(file: DataFile, stream: BinaryIO) -> Iterator[Item]:
    """Rows as dicts of Arrow's IPC formats: the stream, as `datasets` writes it, or the file."""
    import pyarrow

    try:
        magic = stream.read(6)
        stream.seek(0)
        if magic == b"ARROW1":
            with pyarrow.ipc.open_file(stream) as table:
                batches = (table.get_batch(n) for n in range(table.num_record_batches))
                yield from _rows(batches)
        else:
            with pyarrow.ipc.open_stream(stream) as table:
                yield from _rows(table)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{file.name}: not a whole Arrow file ({_first_line(error)})") from None


def _rows(batches: Any) -> Iterator[Item]:
    number = 0
    for batch in batches:
        for start in range(0, batch.num_rows, ROWS):
            for value in batch.slice(start, ROWS).to_pylist():
                number += 1
                yield Item(number, f"row {number}", value)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
