"""An append-only file of finished records: what was paid for once is never asked again."""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

from vcjax.core.errors import UserError

Key = tuple[str, ...]


class Store:
    """JSONL records, each known by the values of its `key` fields; a context manager.

    A record is on the disk when `append` returns. A line that a kill left without its end is
    dropped when the file is opened again: its `append` never returned.

    One process at a time may hold a store open.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        key: tuple[str, ...] = ("id",),
        on_growth: Callable[[], None] = lambda: None,
    ) -> None:
        """Opens or makes the file.

        Args:
          key: fields that no two records may have the same.
          on_growth: called when records have been written.

        Raises:
          UserError: a line that isn't such a record.
        """
        self.path, self._fields, self._on_growth = Path(path), key, on_growth
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self.path.open("a+b")
        self._stream.seek(0)
        content = self._stream.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._stream.truncate(len(whole))
        self.records: dict[Key, dict[str, Any]] = {}
        try:
            for number, line in enumerate(whole.splitlines(), start=1):
                self._load(number, line)
        except UserError:
            self._stream.close()
            raise

    def _load(self, number: int, line: bytes) -> None:
        try:
            record = json.loads(line)
        except ValueError as error:  # of the JSON or of its UTF-8
            raise UserError(f"{self.path}:{number}: not JSON ({error}); remove the line") from None
        if not isinstance(record, dict) or not set(self._fields) <= record.keys():
            names = ", ".join(self._fields)
            raise UserError(f"{self.path}:{number}: not a record with {names}; remove the line")
        if self.key_of(record) in self.records:
            raise UserError(f"{self.path}:{number}: this record comes twice; remove the line")
        self.records[self.key_of(record)] = record

    def key_of(self, record: dict[str, Any]) -> Key:
        """The values of the record's key fields."""
        return tuple(record[field] for field in self._fields)

    @property
    def done(self) -> set[Key]:
        """Keys of the finished records."""
        return set(self.records)

    def append(self, record: dict[str, Any]) -> None:
        """Writes one record through to the disk. Raises: ValueError where it is there already."""
        self.extend([record])

    def extend(self, records: Iterable[dict[str, Any]]) -> None:
        """Writes records through to the disk at once, which costs no more than one of them.

        Raises:
          ValueError: one of them is there already; then none is written.
        """
        added: dict[Key, dict[str, Any]] = {}
        for record in records:
            key = self.key_of(record)
            if key in self.records or key in added:
                raise ValueError(f"{self.path}: {key} is already there")
            added[key] = record
        lines = (json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in added.values())
        self._stream.write(b"".join(lines))
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self.records |= added
        self._on_growth()

    def close(self) -> None:
        """Closes the file; `records` stay."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
