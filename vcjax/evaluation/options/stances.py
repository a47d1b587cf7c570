"""Items of a questionnaire: what is asked, where its options lie, and how groups have answered.

Two kinds are read, by a mapping of columns. A *statement* has a `sign`: its options are a scale
from disagreement to agreement, as in lists like the Political Compass or the World Values Survey's.
An *opinion question* has none: its options are a scale only where `positions` gives their order, as
`option_ordinal` in OpinionQA does (Santurkar et al., arXiv 2303.17548); `groups` are the shares of
people who chose each option, as `selections` in GlobalOpinionQA (Durmus et al., arXiv 2306.16388).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vcjax.core.errors import UserError
from vcjax.evaluation.options.rows import Row, literal, parse_mapping, read_rows
from vcjax.stats.intervals import Scale
from vcjax.text.language import Language

STATEMENTS = Path(__file__).parent / "statements.jsonl"
COLUMNS = (
    "id",
    "parallel_id",
    "lang",
    "dimension",
    "question",
    "options",
    "sign",
    "positions",
    "groups",
)
POSITIONS: Scale = (-1.0, 1.0)
"""The ends of the scale that options have positions on."""
OTHER = "other"
"""The dimension of rows that have none."""
AGREEMENT: dict[Language, tuple[str, ...]] = {
    "en": ("Strongly disagree", "Disagree", "Agree", "Strongly agree"),
    "zh": ("非常不同意", "不同意", "同意", "非常同意"),
}
_STATEMENT = {
    "en": "How far do you agree with this statement?\n“{}”",
    "zh": "你在多大程度上同意这个说法？\n“{}”",
}


@dataclass(frozen=True)
class StanceItem:
    """One item.

    Attributes:
      id, parallel_id: the second is that of its versions in other languages, too.
      dimension: what its position is on.
      question: as the model reads it.
      options: in the file's order.
      positions: of each option, from -1 to 1, None for one without (such as *refused*); empty where
        the options are no scale.
      groups: by group of people, the share of each option.
    """

    id: str
    parallel_id: str
    lang: Language
    dimension: str
    question: str
    options: tuple[str, ...]
    positions: tuple[float | None, ...] = ()
    groups: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def load_stances(paths: str, columns: str, lang: str, options: str = "") -> list[StanceItem]:
    """The items of files, in their order.

    Args:
      paths: comma-separated; empty for the statements that come with the package.
      columns: `OURS:THEIRS,...` where a file's columns aren't called as COLUMNS are.
      lang: of rows that have none.
      options: separated by semicolons, from disagreement to agreement, of rows that have none;
        empty for AGREEMENT.

    Raises:
      UserError: a row that isn't such an item, or an id that comes twice.
    """
    mapping = parse_mapping(columns, COLUMNS, "config.stance.columns")
    shared = tuple(part.strip() for part in options.split(";") if part.strip())
    items: dict[str, StanceItem] = {}
    for row in read_rows(paths or str(STATEMENTS), mapping, COLUMNS):
        item = _item(row, row.lang(lang), shared)
        if item.id in items:
            raise UserError(f"{row.where}: the id {item.id!r} comes twice")
        items[item.id] = item
    if not items:
        raise UserError(f"{paths}: no items")
    return list(items.values())


def _item(row: Row, lang: Language, shared: tuple[str, ...]) -> StanceItem:
    sign = row.values["sign"]
    stated = sign is not None
    options = (
        (shared or AGREEMENT[lang]) if stated and row.values["options"] is None else row.options()
    )
    positions: tuple[float | None, ...] = ()
    if row.values["positions"] is not None:
        positions = _positions(row, len(options))
    elif stated:
        # Equal steps: an assumption, as of all such scales.
        positions = tuple(np.linspace(-1.0, 1.0, len(options)).tolist())
    if stated:
        if str(sign).strip() not in ("1", "-1", "+1", "1.0", "-1.0"):
            raise UserError(f"{row.where}: sign is {sign!r}, neither 1 nor -1")
        positions = tuple(None if each is None else float(sign) * each for each in positions)
    text, dimension = row.text("question"), row.values["dimension"]
    parallel = row.values["parallel_id"]
    return StanceItem(
        id=row.id,
        parallel_id=row.id if parallel is None else str(parallel),
        lang=lang,
        dimension=OTHER if dimension is None else str(dimension),
        question=_STATEMENT[lang].format(text) if stated else text,
        options=options,
        positions=positions,
        groups=_groups(row, len(options)),
    )


def _positions(row: Row, options: int) -> tuple[float | None, ...]:
    """Ordinal numbers of the options, from -1 to 1. Those at the end may lack one."""
    value = row.values["positions"]
    value = literal(value) if isinstance(value, str) else value
    if not isinstance(value, list | tuple) or not 2 <= len(value) <= options:
        raise UserError(f"{row.where}: positions: not a number for each option ({value!r})")
    numbers = [_number(each) for each in value] + [None] * (options - len(value))
    known = [each for each in numbers if each is not None]
    if len(set(known)) < 2:
        raise UserError(f"{row.where}: positions: fewer than two different numbers ({value!r})")
    low, high = min(known), max(known)
    return tuple(None if each is None else 2 * (each - low) / (high - low) - 1 for each in numbers)


def _number(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else None


def _groups(row: Row, options: int) -> dict[str, tuple[float, ...]]:
    value = row.values["groups"]
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        # As Python prints a defaultdict: the dictionary is what it has in braces.
        value = literal(value[value.find("{") : value.rfind("}") + 1])
    if not isinstance(value, Mapping):
        raise UserError(f"{row.where}: groups: not shares by group ({str(value)[:60]!r})")
    groups = {}
    for name, shares in value.items():
        numbers = [_number(each) for each in shares] if isinstance(shares, list | tuple) else []
        if len(numbers) != options or any(each is None or each < 0 for each in numbers):
            raise UserError(f"{row.where}: groups: {name!r} has no share for each option")
        total = sum(each or 0.0 for each in numbers)
        if total > 0:
            groups[str(name)] = tuple((each or 0.0) / total for each in numbers)
    return groups
