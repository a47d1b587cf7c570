"""Attempts that leave their ledger: a file of records, and the card that warns of them."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vcjax.adversarial.ledger.query import (
    Condition,
    attempt_with_calls,
    attempts,
    counts,
    usage,
)
from vcjax.adversarial.outputs import card_templates, writers
from vcjax.core.files import write_jsonl, write_text


def export_attempts(
    connection: sqlite3.Connection, path: Path, where: Sequence[str], *, calls: bool
) -> tuple[int, Path]:
    """Writes the attempts that meet all conditions, one a line, and a card beside them.

    Args:
      where: conditions, as `Condition.parse` reads them.
      calls: include the calls of each attempt.

    Returns the number of attempts, and the path of the card.

    Raises:
      UserError: a condition that is none.
    """
    conditions = [Condition.parse(text) for text in where]
    (found,) = counts(connection, [], conditions)
    card = path.with_name(f"{path.name.partition('.')[0]}.README.md")
    # The card comes first: the texts are nowhere without it.
    template = card_templates().get_template("export.md.jinja")
    text = template.render(
        name=path.name,
        attempts=found["attempts"],
        conditions=[f"`{text}`" for text in where],
        calls=calls,
        kinds=counts(connection, ["kind", "lang"], conditions),
        charters=counts(connection, ["charter"], conditions),
        writers=writers(usage(connection)),
    )
    write_text(card, text)
    rows = attempts(connection, conditions)
    if calls:
        rows = ({**row, "calls": _calls(connection, row["id"])} for row in rows)
    write_jsonl(path, rows)
    return found["attempts"], card


def _calls(connection: sqlite3.Connection, id: str) -> list[dict[str, Any]]:
    found = attempt_with_calls(connection, id)
    return [] if found is None else found["calls"]
