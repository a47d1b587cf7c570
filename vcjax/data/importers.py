"""Data files -> records: formats, public layouts, and what is done with a bad record."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vcjax.data.items import Item, read_items
from vcjax.data.layouts import LAYOUTS, Layout, convert
from vcjax.data.records import KINDS, BadRecord, Record
from vcjax.foundation.errors import UserError, suggest

ON_BAD_RECORD = ("error", "quarantine")


@dataclass(frozen=True)
class Loaded:
    """What was read.

    Attributes:
      records: the good records, in the order of the files.
      quarantined: one `{file, line, reason, raw}` for each bad one. `line` is the item's number
        for formats without lines (JSON arrays, Parquet).
    """

    records: list[Record]
    quarantined: list[dict[str, Any]]


def read_records(
    paths: str | os.PathLike | list, kind: str, *, on_bad_record: str = "error"
) -> Loaded:
    """Reads the records of `kind` from files in any known format and layout.

    Args:
      paths: comma-separated names, or a list of names.
      kind: `documents`, `conversations`, `preferences`, `questions` or `benchmark`.
      on_bad_record: `error` ends at the first bad record; `quarantine` collects them.

    Raises:
      UserError: a missing or unreadable file, a layout that fits no known one, a bad record (in
        the mode `error`), or no good record at all.
    """
    check_choice("kind", kind, KINDS)
    check_choice("on_bad_record", on_bad_record, ON_BAD_RECORD)
    files = split_paths(paths)
    patience = 1 if on_bad_record == "error" else 100
    records: list[Record] = []
    quarantined: list[dict[str, Any]] = []
    for file in files:
        for item, outcome in _read_file(file, kind, patience):
            if isinstance(outcome, Record):
                records.append(outcome)
            elif on_bad_record == "error":
                raise UserError(f"{_place(file, item)}: {outcome}")
            else:
                quarantined.append(
                    {"file": str(file), "line": item.number, "reason": outcome, "raw": item.raw}
                )
    if not records:
        named = ", ".join(str(file) for file in files)
        if not quarantined:
            raise UserError(f"{named}: no {kind}: nothing but blank lines or an empty list")
        first = quarantined[0]
        raise UserError(
            f"{named}: no good record among {len(quarantined)}; "
            f"the first is bad because: {first['reason']} (line or item {first['line']})"
        )
    return Loaded(records, quarantined)


def split_paths(paths: str | os.PathLike | list) -> list[Path]:
    """Splits a comma-separated string, as a flag gives it, or takes a list of names.

    Raises:
      UserError: no file is named.
    """
    if isinstance(paths, str):
        paths = [part.strip() for part in paths.split(",") if part.strip()]
    elif isinstance(paths, os.PathLike):
        paths = [paths]
    if not paths:
        raise UserError("no data file is named")
    return [Path(path) for path in paths]


def _place(file: Path, item: Item) -> str:
    return f"{file}:{'' if item.place.isdigit() else ' '}{item.place}"


def _read_file(file: Path, kind: str, patience: int) -> Iterator[tuple[Item, Record | str]]:
    """Yields each item with its record, or with the reason why it is none.

    The layout is looked for at each item, as files are concatenated from several sources; an item
    that fits none is measured against the last one that fitted. Where none has fitted so far, the
    fault is the whole file's, not the item's; `patience` is the number of such items looked at.
    """
    stem = file.name.split(".")[0]
    layout: Layout | None = None
    waiting: list[Item] = []  # items before the first that fits
    for item in read_items(file):
        if item.fault is not None:
            yield item, item.fault
            continue
        if not isinstance(item.value, dict):
            yield item, f"a record must be an object, not {type(item.value).__name__}"
            continue
        layout = next((each for each in LAYOUTS[kind] if each.fits(item.value)), layout)
        waiting.append(item)
        if layout is None and len(waiting) >= patience:
            break
        if layout is not None:
            for each in waiting:
                yield each, _record_or_reason(layout, each, kind, stem)
            waiting.clear()
    if waiting:
        known = "; ".join(each.name for each in LAYOUTS[kind])
        columns = ", ".join(str(column) for column in waiting[0].value) or "none"
        raise UserError(
            f"{_place(file, waiting[0])}: no known layout of {kind}: columns found: {columns}; "
            f"layouts known: {known}{_near_column(waiting[0].value, kind)}"
        )


def _near_column(row: dict[str, Any], kind: str) -> str:
    wanted = {column for layout in LAYOUTS[kind] for column in layout.columns}
    hints = (suggest(str(column), wanted) for column in row if column not in wanted)
    return next((hint for hint in hints if hint), "")


def _record_or_reason(layout: Layout, item: Item, kind: str, stem: str) -> Record | str:
    try:
        return KINDS[kind].from_dict(convert(layout, item.value, kind, stem))
    except BadRecord as error:
        return error.reason


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raises UserError unless `value` is one of `choices`."""
    if value not in choices:
        hint = suggest(str(value), choices)
        raise UserError(f"{name}: {value!r} is none of {', '.join(choices)}{hint}")
