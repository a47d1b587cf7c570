"""Raw items of a data file, one after the other, with the place of each: no schema here yet."""

import codecs
import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from vcjax.foundation.errors import UserError, suggest

FORMATS = (".jsonl", ".json", ".csv", ".parquet", ".txt")


@dataclass(frozen=True)
class Item:
    """One value of a file.

    Attributes:
      number: line of a text file or of a CSV row's start; item or row number elsewhere; from 1.
      place: the number as a person reads it: `12` or `item 12`.
      value: the parsed value; None if it could not be parsed.
      raw: the text as it stands in the file, or the value as JSON.
      fault: why it could not be parsed, if it could not.
    """

    number: int
    place: str
    value: Any
    raw: str
    fault: str | None = None


def read_items(path: Path) -> Iterator[Item]:
    """Streams the items of a file; `.json` arrays are the one format that is read whole.

    Text formats may be gzipped (`.jsonl.gz`). A malformed line is an Item with a fault.

    Raises:
      UserError: no such file, an unknown format, or a file that is broken as a whole.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name the data files in it")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    name = path.name.lower().removesuffix(".gz")
    suffix = Path(name).suffix
    if suffix not in FORMATS or (suffix == ".parquet" and path.name.lower().endswith(".gz")):
        hint = suggest(suffix, FORMATS)
        raise UserError(
            f"{path}: unknown format (known: {', '.join(FORMATS)}, text also .gz){hint}"
        )
    if suffix == ".parquet":
        yield from _parquet(path)
        return
    try:
        with _open(path) as stream:
            if suffix == ".csv":
                yield from _csv(path, stream)
            elif suffix == ".txt":
                yield from _lines(stream, lambda text: {"text": text.strip()})
            elif suffix == ".json" and _starts_array(path):
                yield from _array(path, stream)
            else:
                yield from _lines(stream, json.loads)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: not a whole gzip file ({error})") from None


def _open(path: Path) -> BinaryIO:
    zipped = path.name.lower().endswith(".gz")
    return cast(BinaryIO, gzip.open(path, "rb")) if zipped else path.open("rb")


def _starts_array(path: Path) -> bool:
    with _open(path) as stream:
        start = stream.read(4096).removeprefix(codecs.BOM_UTF8).lstrip()
    return start.startswith(b"[")


def _lines(stream: BinaryIO, parse) -> Iterator[Item]:
    for number, line in enumerate(stream, start=1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if not line.strip():
            continue
        raw = line.decode("utf-8", errors="replace").rstrip("\r\n")
        value, fault = None, None
        try:
            value = parse(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            fault = f"not UTF-8 ({error.reason})"
        except json.JSONDecodeError as error:
            fault = f"not JSON ({error.msg} at column {error.colno})"
        except RecursionError:
            fault = "not JSON that can be read (nested too deeply)"
        yield Item(number, str(number), value, raw, fault)


def _array(path: Path, stream: BinaryIO) -> Iterator[Item]:
    try:
        values = json.loads(stream.read().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not JSON ({error.msg})") from None
    for number, value in enumerate(values, start=1):
        yield Item(number, f"item {number}", value, _as_json(value))


def _csv(path: Path, stream: BinaryIO) -> Iterator[Item]:
    csv.field_size_limit(sys.maxsize)  # Python's default refuses fields over 128 KiB
    encoding = _csv_encoding(path)
    text = io.TextIOWrapper(stream, encoding=encoding, newline="")
    rows = csv.reader(text, strict=True)
    header = None
    start = 1
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            yield Item(start, str(start), None, "", f"not CSV ({error})")
            row = []
        if row is None:
            return
        if header is None:
            header = [name.strip() for name in row]
        elif row:  # a blank line is an empty row
            raw = _as_json(row)
            if len(row) == len(header):
                value = dict(zip(header, (cell or None for cell in row), strict=True))
                yield Item(start, str(start), value, raw)
            else:
                fault = f"{len(row)} fields where the header names {len(header)}"
                yield Item(start, str(start), None, raw, fault)
        start = rows.line_num + 1


def _csv_encoding(path: Path) -> str:
    """UTF-8, or GB 18030, in which spreadsheet programs save Chinese tables.

    Nearly any bytes can be read as GB 18030, so it is believed only of a file whose column names
    are then Chinese.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with _open(path) as stream:
            while block := stream.read(1 << 20):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        return "utf-8-sig"
    except UnicodeDecodeError as error:
        fault = error
    try:
        with _open(path) as stream, io.TextIOWrapper(stream, encoding="gb18030") as text:
            chinese = re.search(r"[\u4e00-\u9fff]", text.readline())
            while text.read(1 << 20):
                pass
    except UnicodeDecodeError:
        chinese = None
    if chinese is None:
        raise UserError(f"{path}: not UTF-8 ({fault.reason}); save the table as UTF-8")
    return "gb18030"


def _parquet(path: Path) -> Iterator[Item]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as table:
            number = 0
            for batch in table.iter_batches(batch_size=1024):
                for value in batch.to_pylist():
                    number += 1
                    yield Item(number, f"row {number}", value, _as_json(value))
    except pyarrow.ArrowException as error:
        raise UserError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from None


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
