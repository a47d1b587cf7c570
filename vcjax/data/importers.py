"""Data files -> records: items by a layout to records, and what is done with a bad one.

    names -> files.find_files -> readers.read_items -> layouts (which?) -> columns.record_fields
                                                                                 |
    Record <------------ records.KINDS[kind].from_dict <------------ messages.settle_tools

Nothing is kept: a corpus is read anew in each pass over it.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from vcjax.core.errors import UserError, suggest
from vcjax.core.settings import check_choice
from vcjax.data.columns import TOOLS, known_columns, parse_columns, record_fields, renamed, unread
from vcjax.data.digests import LabelledAnswers
from vcjax.data.files import DataFile, Names, find_files
from vcjax.data.layouts import LAYOUTS, Layout, LeftOut
from vcjax.data.messages import TOOL_TURNS, settle_tools
from vcjax.data.readers import AUTO, BY_DOCUMENT, BY_LINE, SAMPLE_BY, Item, read_items, sampled_by
from vcjax.data.records import KINDS, BadRecord, Record

ON_BAD_RECORD = ("error", "quarantine")


@dataclass
class ReadCounts:
    """Counts of the rows that were read, by what was made of them.

    Attributes:
      records: the good records.
      quarantined: the bad records.
      first: the first of these, as it is set aside.
      left_out: valid rows from which no record is made, by reason.
      unpaired: labelled answers (KTO) to whose prompt there is no answer with the other label.
      columns_not_read: rows with a value in a column that isn't read, by column.
      tool_turns: calls of tools and their results that are `trained` on, or `left_out`.
      no_domain: records without a domain, of the kinds that have one.
      whole_files: text files of which each was read as one document.
    """

    records: int = 0
    quarantined: int = 0
    first: dict[str, Any] | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    unpaired: int = 0
    columns_not_read: Counter[str] = field(default_factory=Counter)
    tool_turns: Counter[str] = field(default_factory=Counter)
    no_domain: int = 0
    whole_files: int = 0

    def summary(self) -> dict[str, Any]:
        """The part of a prepared dataset's summary."""
        return {
            "left_out": dict(sorted(self.left_out.items())),
            "unpaired": self.unpaired,
            "columns_not_read": dict(sorted(self.columns_not_read.items())),
            "tool_turns": dict(sorted(self.tool_turns.items())),
            "whole_files": self.whole_files,
        }


@dataclass(frozen=True, slots=True)
class Located:
    """A record and its position.

    Attributes:
      file, line: name of the file; number of the item in it.
      stated: whether its language is from the file, and not guessed.
    """

    file: str
    line: int
    record: Record
    stated: bool


class Records:
    """The records of data files, read anew each time it is iterated over; none is kept.

    Attributes:
      counts: of the current or the last iteration.
      set_aside: is called with one `{file, line, reason, raw}` for each bad record, where they are
        quarantined. `line` is the item's number for formats without lines (arrays, Parquet).
    """

    def __init__(
        self,
        paths: Names | Sequence[DataFile],
        kind: str,
        *,
        on_bad_record: str = "error",
        columns: str = "",
        tool_turns: str = "leave_out",
        require_domain: bool = False,
        sample_by: str = AUTO,
    ) -> None:
        """Finds the files; reads none of them.

        Args:
          paths: comma-separated names, or a list of names: files, folders, globs, URLs; or files
            that are found already.
          kind: `documents`, `conversations`, `preferences`, `questions` or `benchmark`.
          on_bad_record: `error` ends at the first bad record; `quarantine` sets them aside.
          columns: the files' names for ours, `question:prompt,answer:response`.
          tool_turns: what is done with calls of tools; see `vcjax.data.messages.settle_tools`.
          require_domain: a record without a domain is a bad one.
          sample_by: what of a text file is one document, one of SAMPLE_BY; of other kinds each
            line is a record.

        Raises:
          UserError: a name that nothing is found under, an unknown format or choice.
        """
        check_choice("kind", kind, KINDS)
        check_choice("on_bad_record", on_bad_record, ON_BAD_RECORD)
        check_choice("tool_turns", tool_turns, TOOL_TURNS)
        check_choice("sample_by", sample_by, SAMPLE_BY)
        self.kind = kind
        names = isinstance(paths, str | os.PathLike) or not isinstance(next(iter(paths)), DataFile)
        self.files = find_files(cast(Names, paths)) if names else list(cast(list, paths))
        self.counts = ReadCounts()
        self.set_aside: Callable[[dict[str, Any]], None] = _ignore
        # How many items may fit no layout before the file as a whole is refused: an item may be
        # bad, but a hundred at its start are a layout that isn't known.
        self._patience = 1 if on_bad_record == "error" else 100
        self._columns = parse_columns(columns)
        self._found: set[str] = set()  # our names of columns that a row had
        self._tool_turns = tool_turns
        self._sample_by = sample_by if kind == "documents" else BY_LINE
        self._has_domain = "domain" in KINDS[kind].field_names()
        self._require_domain = require_domain and self._has_domain

    def __iter__(self) -> Iterator[Record]:
        """Reads the files in their order. Raises: UserError, see `located`."""
        return (each.record for each in self.located())

    def located(self) -> Iterator["Located"]:
        """Reads the files in their order; yields each record with its position.

        Raises:
          UserError: a file that is unreadable, a layout that fits no known one, a bad record (in
            the mode `error`), or no good record at all.
        """
        self.counts = counts = ReadCounts()
        self._found = set()
        for file in self.files:
            for item, outcome in self._read(file):
                if isinstance(outcome, Record):
                    counts.records += 1
                    stated = isinstance(item.value, dict) and bool(item.value.get("lang"))
                    yield Located(file.name, item.number, outcome, stated)
                elif self._patience == 1:
                    raise UserError(f"{_position(file, item.position)}: {outcome}")
                else:
                    bad = {
                        "file": file.name,
                        "line": item.number,
                        "reason": outcome,
                        "raw": item.raw,
                    }
                    counts.quarantined += 1
                    counts.first = counts.first or bad
                    self.set_aside(bad)
        self._check_end()

    def _check_end(self) -> None:
        counts = self.counts
        # Where none is found, the mapping is meant for other files of the run.
        lacking = self._columns.keys() & known_columns(self.kind) - self._found
        named = ", ".join(file.name for file in self.files[:3])
        named += f" and {len(self.files) - 3} more" if len(self.files) > 3 else ""
        if lacking and self._found:
            theirs = ", ".join(self._columns[name] for name in sorted(lacking))
            raise UserError(f"columns: no row of {named} has {theirs}")
        if counts.records:
            return
        if counts.first is not None:
            raise UserError(
                f"{named}: no good record among {counts.quarantined}; the first is bad because: "
                f"{counts.first['reason']} (line or item {counts.first['line']})"
            )
        reasons = [f"{count} {reason}" for reason, count in counts.left_out.items()]
        reasons += [f"{counts.unpaired} labelled answers without a pair"] * bool(counts.unpaired)
        what = "; ".join(reasons) or "nothing but blank lines or an empty list"
        raise UserError(f"{named}: no {self.kind}: {what}")

    def _read(self, file: DataFile) -> Iterator[tuple[Item, Record | str]]:
        """Yields each item with its record, or with the reason why it has none.

        Each item may have another layout, as files are concatenated from several sources; an item
        that fits none is read by the last one that fitted. Where none has fitted any of the first
        `_patience` items, the error is the whole file's, not an item's.
        """
        layout: Layout | None = None
        waiting: list[Item] = []  # items before the first that fits
        labelled: LabelledAnswers | None = None
        for item in self._items(file):
            if item.error is not None:
                yield item, item.error
                continue
            if not isinstance(item.value, dict):
                yield item, f"a record must be an object, not {type(item.value).__name__}"
                continue
            # Where no layout fits, the last one that did reads the item: its error then names the
            # missing field.
            layout = next((x for x in LAYOUTS[self.kind] if x.fits(item.value)), layout)
            waiting.append(item)
            if layout is None and len(waiting) >= self._patience:
                break
            if layout is None:
                continue
            for each in waiting:
                try:
                    fields = self._fields(layout, each, file)
                    if "label" in fields:
                        labelled = labelled or LabelledAnswers()
                        _add_labelled(labelled, each, fields)
                    else:
                        yield each, self._record(fields)
                except LeftOut as reason:
                    self.counts.left_out[str(reason)] += 1
                except BadRecord as error:
                    yield each, error.reason
            waiting.clear()
        if waiting:
            raise UserError(_no_layout(file, waiting[0], self.kind))
        # An answer's counterpart may be anywhere in the file, so pairs are made at its end.
        if labelled is not None:
            with labelled:
                yield from self._pairs(labelled)

    def _items(self, file: DataFile) -> Iterator[Item]:
        by = sampled_by(file, self._sample_by)
        self.counts.whole_files += by == BY_DOCUMENT
        for item in read_items(file, by):
            if self._columns and isinstance(item.value, dict) and item.error is None:
                self._found |= {
                    ours
                    for ours, theirs in self._columns.items()
                    if theirs in item.value or ours in item.value
                }
                value = renamed(item.value, self._columns)
                yield Item(item.number, item.position, value, item.source)
            else:
                yield item

    def _fields(self, layout: Layout, item: Item, file: DataFile) -> dict[str, Any]:
        row = item.value
        fields = record_fields(layout, row, self.kind, file.stem)
        self.counts.columns_not_read.update(unread(layout, row, self.kind))
        messages = fields.get("messages")
        if isinstance(messages, list):
            how, tools = self._tool_turns, row.get(TOOLS)
            if tools and how == "leave_out":
                self.counts.columns_not_read[TOOLS] += 1
            settled, count = settle_tools(messages, tools, how)
            self.counts.tool_turns.update(count)
            if "left_out" in count and (self.kind == "preferences" or not settled):
                raise LeftOut("with nothing but what tools were called for")
            fields["messages"] = settled
        return fields

    def _record(self, fields: dict[str, Any]) -> Record:
        record = KINDS[self.kind].from_dict(fields)
        if self._has_domain and getattr(record, "domain", None) is None:
            if self._require_domain:
                raise BadRecord("field 'domain' is missing, and require_domain is set")
            self.counts.no_domain += 1
        return record

    def _pairs(self, labelled: LabelledAnswers) -> Iterator[tuple[Item, Record | str]]:
        paired = 0
        for position, good, bad in labelled.pairs():
            paired += 2
            fields = {**good, "chosen": good["answer"], "rejected": bad["answer"]}
            del fields["answer"]
            item = Item(int(position.rpartition(" ")[2]), position, fields)
            try:
                yield item, self._record(fields)
            except BadRecord as error:
                yield item, error.reason
        self.counts.unpaired += labelled.count - paired


@dataclass(frozen=True)
class Loaded:
    """What was read.

    Attributes:
      records: the good records, in the order of the files.
      quarantined: one `{file, line, reason, raw}` for each bad one.
    """

    records: list[Record]
    quarantined: list[dict[str, Any]]


def read_records(
    paths: Names, kind: str, *, on_bad_record: str = "error", columns: str = ""
) -> Loaded:
    """Reads what fits into memory: questions, benchmarks, samples. A corpus is `Records`.

    Args:
      paths, kind, on_bad_record, columns: as of `Records`.

    Raises:
      UserError: see `Records`.
    """
    records = Records(paths, kind, on_bad_record=on_bad_record, columns=columns)
    quarantined: list[dict[str, Any]] = []
    records.set_aside = quarantined.append
    return Loaded(list(records), quarantined)


def _ignore(bad: dict[str, Any]) -> None:
    """Drops a bad record, which the counts have."""


def _position(file: DataFile, position: str) -> str:
    return f"{file.name}:{'' if position.isdigit() else ' '}{position}"


def _no_layout(file: DataFile, item: Item, kind: str) -> str:
    known = "; ".join(each.name for each in LAYOUTS[kind])
    columns = ", ".join(str(column) for column in item.value) or "none"
    wanted = {column for layout in LAYOUTS[kind] for column in layout.columns}
    hints = (suggest(str(column), wanted) for column in item.value if column not in wanted)
    hint = next((hint for hint in hints if hint), "")
    return (
        f"{_position(file, item.position)}: no known layout of {kind}: columns found: {columns}; "
        f"layouts known: {known}; others: name them in columns=OURS:THEIRS{hint}"
    )


def _add_labelled(labelled: LabelledAnswers, item: Item, fields: dict[str, Any]) -> None:
    good = fields.pop("label")
    prompt = json.dumps(fields["messages"]).encode()
    labelled.add(hashlib.sha256(prompt).digest(), good, item.position, fields)
