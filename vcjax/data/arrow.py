"""The rows of Parquet files, and of the Arrow files that `datasets` writes, as dicts."""

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from vcjax.core.errors import UserError

ROWS = 256  # of a batch that are made Python objects at once


def parquet_rows(name: str, stream: BinaryIO) -> Iterator[dict[str, Any]]:
    """Yields the rows of a Parquet file, page by page: a row group may be larger than the memory.

    Raises:
      UserError: `name`, the file, is no Parquet file.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(stream, buffer_size=1 << 20, pre_buffer=False) as table:
            yield from _rows(table.iter_batches(batch_size=ROWS))
    except pyarrow.ArrowException as error:
        raise UserError(f"{name}: not a Parquet file ({_first_line(error)})") from None


def arrow_rows(name: str, stream: BinaryIO) -> Iterator[dict[str, Any]]:
    """Yields the rows of Arrow's IPC formats: the stream, as `datasets` writes it, or the file.

    Raises:
      UserError: `name`, the file, is no whole Arrow file.
    """
    import pyarrow

    try:
        # Arrow's two IPC formats share an ending: a file begins with its magic string, a stream
        # doesn't.
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
        raise UserError(f"{name}: not a whole Arrow file ({_first_line(error)})") from None


def _rows(batches: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        for start in range(0, batch.num_rows, ROWS):
            yield from batch.slice(start, ROWS).to_pylist()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
