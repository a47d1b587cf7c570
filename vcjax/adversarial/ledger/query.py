"""Reading a ledger: attempts by any field, counts, one attempt with all its calls."""

import json
import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vcjax.adversarial.ledger.prompts import read_prompt
from vcjax.adversarial.ledger.schema import ATTEMPT, CALL, DETAIL, SETUP
from vcjax.core.errors import UserError, suggest

_OPERATORS = {
    "=": "{} = ?",
    "!=": "{} != ?",
    "<": "{} < ?",
    "<=": "{} <= ?",
    ">": "{} > ?",
    ">=": "{} >= ?",
    "~": "instr({}, ?) > 0",
}
_CONDITION = re.compile(r"\s*([\w.]+)\s*(<=|>=|!=|=|<|>|~)(.*)", re.DOTALL)
_NUMBERS = {name for name, kind in {**CALL, **ATTEMPT}.items() if not kind.startswith("TEXT")}
_OF_CALL = "call."
_LINKS = ("attempt", "setup")
_CALL_FIELDS = tuple(name for name in (*CALL, *SETUP) if name not in (*_LINKS, "alternatives"))
FIELDS = (
    *ATTEMPT,
    *DETAIL,
    *(name for name in _CALL_FIELDS if name not in ATTEMPT),
    *(f"{_OF_CALL}{name}" for name in _CALL_FIELDS if name in ATTEMPT),
)
"""What a condition may be about. An attempt satisfies one about calls if one of its calls does."""

OWN_FIELDS = (*ATTEMPT, *DETAIL)
"""The fields of an attempt, without those of its calls."""


@dataclass(frozen=True)
class Condition:
    """One comparison, e.g. `lang=zh`, `score>=4` or `query~tax` (contains)."""

    field: str
    operator: str
    value: str | float

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Raises: UserError for an unknown field or operator, or a number that is none."""
        matched = _CONDITION.fullmatch(text)
        if matched is None:
            known = " ".join(_OPERATORS)
            raise UserError(f"--where={text}: write FIELD=VALUE; other comparisons: {known}")
        field, operator, value = matched.groups()
        check_fields([field], FIELDS)
        absent = not value and operator in ("=", "!=")
        if field.removeprefix(_OF_CALL) not in _NUMBERS or operator == "~" or absent:
            return cls(field, operator, value)
        try:
            return cls(field, operator, float(value))
        except ValueError:
            raise UserError(f"--where={text}: {value!r} is no number") from None

    @property
    def of_call(self) -> bool:
        """Whether it is about a call of the attempt."""
        return self.field not in OWN_FIELDS

    @property
    def sql(self) -> str:
        """The comparison, with one `?` for the value; NULL is compared as an empty text."""
        column = f'"{self.field.removeprefix(_OF_CALL)}"'
        if isinstance(self.value, str):
            column = f"coalesce({column}, '')"
        return _OPERATORS[self.operator].format(column)


def check_fields(names: Iterable[str], known: Collection[str]) -> None:
    """Raises a UserError for a field that isn't known; the closest one is suggested."""
    for name in names:
        if name not in known:
            raise UserError(f"{name}: no such field{suggest(name, known)} ({', '.join(known)})")


def attempts(
    connection: sqlite3.Connection,
    conditions: Sequence[Condition] = (),
    *,
    details: bool = True,
    limit: int = -1,
) -> Iterator[dict[str, Any]]:
    """The attempts that satisfy all conditions, in the order of their numbers.

    Args:
      details: with answer, conversation and candidates; the latter two are parsed.
      limit: how many attempts at most; -1 for all.
    """
    where, values = _where(conditions)
    columns = ", ".join(OWN_FIELDS if details else ATTEMPT)
    joined = "JOIN details USING (key)" if details or _about_details(conditions) else ""
    rows = connection.execute(
        f"SELECT {columns} FROM attempts {joined} {where} ORDER BY number, id LIMIT ?",
        (*values, limit),
    )
    for row in rows:
        record = dict(row)
        for name in ("conversation", "candidates"):
            # Parsed here, so that callers have values and not JSON.
            if name in record:
                record[name] = json.loads(record[name])
        yield record


def counts(
    connection: sqlite3.Connection, by: Sequence[str], conditions: Sequence[Condition] = ()
) -> list[dict[str, Any]]:
    """`{field: value, ..., "attempts": how many}` for each combination that occurs, in order.

    Raises:
      UserError: `by` names a field that an attempt doesn't have.
    """
    check_fields(by, ATTEMPT)
    where, values = _where(conditions)
    joined = "JOIN details USING (key)" if _about_details(conditions) else ""
    columns = "".join(f"{name}, " for name in by)
    grouped = f"GROUP BY {', '.join(by)} ORDER BY {', '.join(by)}" if by else ""
    rows = connection.execute(
        f"SELECT {columns}count(*) AS attempts FROM attempts {joined} {where} {grouped}", values
    )
    return [dict(row) for row in rows]


def asked_queries(connection: sqlite3.Connection) -> Iterator[str]:
    """Every query that was asked, in the order of the attempts' numbers: of a conversation its
    opening and all that its user asked after it."""
    rows = connection.execute(
        "SELECT query, conversation FROM attempts JOIN details USING (key) "
        "WHERE query != '' ORDER BY number, id"
    )
    for row in rows:
        turns = json.loads(row["conversation"])
        yield from [turn["content"] for turn in turns[::2]] or [row["query"]]


def usage(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """What calls have cost, by the role and by the model that answered; see `Ledger.usage`."""
    rows = connection.execute(
        "SELECT substr(stage, 1, instr(stage || '/', '/') - 1) AS role, model, revision, "
        "count(*) AS calls, sum(outcome != 'ok') AS failed, sum(calls.prompt_tokens) AS "
        "prompt_tokens, sum(tokens) AS tokens, total(seconds) AS seconds, total(cost) AS cost, "
        "sum(calls.prompt_tokens * (cost IS NULL)) AS unpriced_prompt_tokens, "
        "sum(tokens * (cost IS NULL)) AS unpriced_tokens "
        "FROM calls JOIN setups ON setups.key = setup GROUP BY role, model, revision "
        "ORDER BY role, model, revision"
    )
    return [dict(row) for row in rows]


def spending(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """Calls and tokens by role and model, of attempts and of what a run asks beside them; see
    `Ledger.spending`."""
    rows = connection.execute(
        "SELECT substr(stage, 1, instr(stage || '/', '/') - 1) AS role, model, "
        "attempt IN (SELECT id FROM attempts) AS of_attempt, count(*) AS calls, "
        "sum(prompt_tokens) AS prompt_tokens, sum(tokens) AS tokens, total(cost) AS cost, "
        "sum(prompt_tokens * (cost IS NULL)) AS unpriced_prompt_tokens, "
        "sum(tokens * (cost IS NULL)) AS unpriced_tokens "
        "FROM calls JOIN setups ON setups.key = setup GROUP BY role, model, of_attempt "
        "ORDER BY role, model, of_attempt"
    )
    return [dict(row) for row in rows]


def attempt_with_calls(connection: sqlite3.Connection, id: str) -> dict[str, Any] | None:
    """An attempt with all its fields, and its `calls` in the order in which they were made.

    One that isn't decided yet has its id and calls alone; None where there is neither. The `prompt`
    of a call has its messages, or is None in a ledger of an earlier version, which had none.
    """
    condition = Condition("id", "=", id)
    found = next(attempts(connection, [condition]), {"id": id})
    rows = connection.execute(
        f"SELECT {', '.join(CALL)}, {', '.join(SETUP)} FROM calls "
        "JOIN setups ON setups.key = setup WHERE attempt = ? ORDER BY calls.key",
        (id,),
    )
    calls = []
    for row in rows:
        call = {name: value for name, value in dict(row).items() if name not in _LINKS}
        for name in ("parameters", "alternatives"):
            call[name] = json.loads(call[name] or "null")
        call["prompt"] = read_prompt(connection, call["prompt_hash"])
        calls.append(call)
    return {**found, "calls": calls} if calls or len(found) > 1 else None


def is_merged(connection: sqlite3.Connection) -> bool:
    """Whether there are attempts of several runs, each of which numbers its own from 0."""
    query = "SELECT count(*) > count(DISTINCT number) FROM attempts"
    return bool(connection.execute(query).fetchone()[0])


def _where(conditions: Sequence[Condition]) -> tuple[str, list[str | float]]:
    """A WHERE clause, or an empty text, and the values of its placeholders."""
    own = [each for each in conditions if not each.of_call]
    called = [each for each in conditions if each.of_call]
    parts = [each.sql for each in own]
    if called:
        inner = " AND ".join(each.sql for each in called)
        # Not correlated, so that the calls are read once, whatever the number of attempts.
        parts.append(
            f"id IN (SELECT attempt FROM calls JOIN setups ON setups.key = setup WHERE {inner})"
        )
    where = f"WHERE {' AND '.join(parts)}" if parts else ""
    return where, [each.value for each in (*own, *called)]


def _about_details(conditions: Sequence[Condition]) -> bool:
    return any(each.field in DETAIL for each in conditions)
