"""Columns of public data sets -> fields of our records, whatever the layout of the rest of a row.

A file's own names for columns may be mapped to ours (`parse_columns`); `record_fields` adds what
any layout may have beside its own columns, and `unread` names what no record is made of.
"""

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from functools import cache, lru_cache

from vcjax.core.errors import UserError, suggest
from vcjax.data.layouts import LAYOUTS, Layout, Row
from vcjax.data.messages import unread_fields, with_system
from vcjax.data.records import KINDS, BadRecord

# The names of public data sets for fields of ours, the most specific first.
DOMAIN_COLUMNS = ("domain_en", "category", "违规类型")
ID_COLUMNS = ("id_", "ID")
SYSTEM_COLUMNS = ("system", "system_prompt")
TOOLS = "tools"

_TURN_COLUMNS = ("messages", "conversations", "prompt", "completion", "chosen", "rejected")


def record_fields(layout: Layout, row: Row, kind: str, file_stem: str) -> Row:
    """Maps a row to the fields of `kind`: the layout's own, and whatever else carries our names.

    A `system` column goes before the messages of any layout. Columns that aren't read are left out,
    as public sets have many of them (`unread` names them), but one that is nearly a field of ours
    is passed on, so that the schema can name the misspelling instead of losing the value.

    Raises:
      BadRecord, LeftOut: see `Layout`.
    """
    names = KINDS[kind].field_names()
    missing = [column for column in layout.columns if column not in row]
    if missing:
        raise BadRecord(f"field {missing[0]!r} is missing")
    fields = {"source": file_stem} if "source" in names else {}
    fields |= {name: row[name] for name in names if name in row and row[name] is not None}
    # A misspelt `domian` would otherwise be dropped in silence, and its records never held out.
    for column in row:
        near = _misspelt(layout, kind, column)
        if near is not None and near not in row:
            fields[column] = row[column]
    fields |= layout.convert(row)
    if "messages" in fields:
        system = next((row[name] for name in SYSTEM_COLUMNS if row.get(name)), None)
        fields["messages"] = with_system(fields["messages"], system)
    if isinstance(fields.get("id"), int):
        fields["id"] = f"{file_stem}-{fields['id']}"
    domain = next((row[column] for column in DOMAIN_COLUMNS if row.get(column)), None)
    if "domain" in names and "domain" not in fields and isinstance(domain, str):
        fields["domain"] = domain
    identity = next((row[column] for column in ID_COLUMNS if row.get(column) is not None), None)
    if "id" not in fields and identity is not None:
        # Public sets number their rows from 1 in each file, so the file's name is part of the id.
        fields["id"] = f"{file_stem}-{identity}"
    return fields


def unread(layout: Layout, row: Row, kind: str) -> Iterator[str]:
    """Yields the columns of a row, and the fields of its turns, with a value that isn't read."""
    for column in _unread(layout, kind, tuple(row)):
        if row[column] not in (None, "", [], {}):
            yield column
    for column in _TURN_COLUMNS:
        if column in row:
            yield from (f"{column}[].{name}" for name in unread_fields(row[column]))


@lru_cache  # rows have the same columns, mostly
def _unread(layout: Layout, kind: str, columns: tuple[str, ...]) -> tuple[str, ...]:
    names = KINDS[kind].field_names()
    read = {*names, *layout.columns, *layout.optional}
    # Of columns that mean the same the first is read, and the others are reported as left out.
    groups = [("id", *ID_COLUMNS)]
    groups += [("domain", *DOMAIN_COLUMNS)] if "domain" in names else []
    groups += [SYSTEM_COLUMNS, (TOOLS,)] if "messages" in names else []
    for group in groups:  # the first of each is read
        read.update([name for name in group if name in columns][:1])
    return tuple(column for column in columns if column not in read)


@lru_cache  # close matches take longer than the rest of a row
def _misspelt(layout: Layout, kind: str, column: str) -> str | None:
    """The field that a column's name nearly is; None where the column means something else."""
    names = KINDS[kind].field_names()
    if column in names or column in layout.columns or column in layout.optional:
        return None
    return next(iter(get_close_matches(column, names, n=1, cutoff=0.81)), None)


def parse_columns(text: str, known: Collection[str] | None = None) -> dict[str, str]:
    """`question:prompt,answer:response` -> our name of each column, and the file's.

    Args:
      known: our names; None is those of the known layouts.

    Raises:
      UserError: it isn't of this form, or a name of ours that isn't known.
    """
    names = known_columns() if known is None else known
    mapping = {}
    for pair in (part.strip() for part in text.split(",")):
        if not pair:
            continue
        ours, colon, theirs = (part.strip() for part in pair.partition(":"))
        if not (ours and colon and theirs):
            raise UserError(f"columns: {pair!r} must be OURS:THEIRS, as in question:prompt")
        if ours not in names:
            swapped = theirs in names
            hint = suggest(ours, names)
            advice = f"; did you mean '{theirs}:{ours}'?" if swapped else hint
            what = "a known layout" if known is None else f"those here ({', '.join(names)})"
            raise UserError(f"columns: {ours!r} is no column of {what}{advice}")
        if ours in mapping:
            raise UserError(f"columns: {ours!r} is given twice")
        mapping[ours] = theirs
    return mapping


def check_columns(text: str) -> None:
    """Raises the UserError of `parse_columns` under the name of the field in a config."""
    try:
        parse_columns(text)
    except UserError as error:
        raise UserError(f"config.{error}") from None


def renamed(row: Row, columns: Mapping[str, str]) -> Row:
    """A row by our names, as far as it has theirs."""
    found = {ours: theirs for ours, theirs in columns.items() if theirs in row}
    if not found:
        return row
    rest = {name: value for name, value in row.items() if name not in found.values()}
    return rest | {ours: row[theirs] for ours, theirs in found.items()}


@cache
def known_columns(kind: str | None = None) -> frozenset[str]:
    """The columns that the layouts of a kind read; None is of all kinds."""
    known: set[str] = set()
    for each in LAYOUTS if kind is None else (kind,):
        names = KINDS[each].field_names()
        known |= {*names, *((*SYSTEM_COLUMNS, TOOLS) if "messages" in names else ())}
        for layout in LAYOUTS[each]:
            known |= {*layout.columns, *layout.optional}
    return frozenset(known)
