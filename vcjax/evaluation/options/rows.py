"""Rows of any data file as questions with options, by a mapping of columns.

`question:base.question,options:A+B+C+D` maps our names to a file's: a dot goes into an object, and
a plus joins columns to a list.
"""

import ast
import json
import re
import string
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vcjax.core.errors import UserError, suggest
from vcjax.data.files import find_files
from vcjax.data.readers import read_items
from vcjax.text.language import Language

LETTERS = string.ascii_uppercase
"""The letters of the options, in their order."""
_LETTERED = re.compile(r"(?:^|\n)\s*\(?([A-Z])[).:：、]\s*")


@dataclass(frozen=True)
class Row:
    """A row of a file.

    Attributes:
      where: file and position, for messages.
      stem: the file's name without its ending.
      number: of the row in its file, from 1.
      values: by our names; those that the row lacks are None.
    """

    where: str
    stem: str
    number: int
    values: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The row's own id, or its number, under the file's name: sets number their rows alike."""
        own = self.values.get("id")
        return f"{self.stem}-{self.number if own is None else own}"

    def text(self, name: str) -> str:
        """A text that must be there. Raises: UserError."""
        value = self.values.get(name)
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{self.where}: no {name} ({value!r}); map it with columns")
        return value.strip()

    def lang(self, default: str) -> Language:
        """The row's language. Raises: UserError, one that isn't supported."""
        value = self.values.get("lang") or default
        if value == "en" or value == "zh":
            return value
        raise UserError(f"{self.where}: lang is {value!r}, neither en nor zh")

    def options(self) -> tuple[str, ...]:
        """The options. Raises: UserError, fewer than two, more than letters, or an empty one."""
        try:
            found = as_options(self.values.get("options"))
        except ValueError as error:
            raise UserError(f"{self.where}: options: {error}") from None
        if not 2 <= len(found) <= len(LETTERS):
            raise UserError(f"{self.where}: {len(found)} options; 2 to {len(LETTERS)} can be asked")
        if not all(found):
            raise UserError(f"{self.where}: an option is empty")
        return found


def parse_mapping(text: str, known: Collection[str], where: str) -> dict[str, str]:
    """`question:prompt,options:A+B` -> our name of each column, and the file's.

    Args:
      known: our names.
      where: how the user names the field.

    Raises:
      UserError: it isn't of this form, or names what isn't known.
    """
    mapping: dict[str, str] = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        ours, colon, theirs = (part.strip() for part in pair.partition(":"))
        if not (ours and colon and theirs):
            raise UserError(f"{where}: {pair!r} must be OURS:THEIRS, as in question:prompt")
        if ours not in known:
            names = ", ".join(known)
            raise UserError(f"{where}: no field {ours!r} ({names}){suggest(ours, known)}")
        if ours in mapping:
            raise UserError(f"{where}: {ours!r} is given twice")
        mapping[ours] = theirs
    return mapping


def read_rows(paths: str, mapping: Mapping[str, str], known: Collection[str]) -> Iterator[Row]:
    """Yields the rows of files, see `vcjax.data.files.find_files`.

    Args:
      mapping: of `parse_mapping`; a name that isn't in it is a column of the same name.
      known: our names.

    Raises:
      UserError: no such file, or a row that isn't an object.
    """
    for file in find_files(paths):
        for item in read_items(file):
            where = f"{file.name}:{item.position}"
            if item.error or not isinstance(item.value, dict):
                raise UserError(f"{where}: {item.error or 'not an object with columns'}")
            values = {name: _value(item.value, mapping.get(name, name)) for name in known}
            yield Row(where, file.stem, item.number, values)


def as_options(value: Any) -> tuple[str, ...]:
    """Texts of options, from a list; a list in a string, as CSV has it; a text with one option
    under each letter; or an object with such a list as `text`.

    Raises:
      ValueError: none of these.
    """
    if isinstance(value, Mapping):
        value = value.get("text")
    if isinstance(value, str):
        parts = _LETTERED.split(value.strip())
        # From A on and without a gap: else "A." is a part of a sentence.
        if len(parts) > 3 and parts[1::2] == list(LETTERS[: len(parts) // 2]):
            return tuple(part.strip() for part in parts[2::2])
        value = literal(value)
    if not isinstance(value, list | tuple):
        raise ValueError(f"not a list ({str(value)[:60]!r})")
    return tuple(str(each).strip() for each in value)


def literal(text: str) -> Any:
    """A value that is written as JSON or as Python prints it; nothing is run. Anything else is the
    text itself."""
    try:
        # JSON first: of `true` and `null` Python knows nothing.
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text


def as_index(value: Any, options: tuple[str, ...], first: int) -> int:
    """The index of an answer, which is an option's text, its letter, or its number.

    Args:
      first: the number of the first option.

    Raises:
      ValueError: it is none of them.
    """
    if isinstance(value, str):
        text = value.strip()
        if text in options:
            return options.index(text)
        letter = text.strip("().").upper()
        if len(letter) == 1 and letter in LETTERS[: len(options)]:
            return LETTERS.index(letter)
        value = int(text) if text.isdecimal() else None
    if isinstance(value, float) and value.is_integer():  # of a column with empty cells
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value - first < len(options):
        return value - first
    raise ValueError("neither an option's text, nor its letter, nor its number")


def _value(row: Mapping[str, Any], column: str) -> Any:
    if column not in row and "+" in column:
        parts = [_value(row, part.strip()) for part in column.split("+")]
        options = ["" if part is None else part for part in parts]
        # A question with fewer options leaves the last columns empty. An empty one before others
        # stays, and `Row.options` refuses it: without it these would be under other letters.
        while options and options[-1] == "":
            options.pop()
        return options
    value: Any = row
    for name in [column] if column in row else column.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
