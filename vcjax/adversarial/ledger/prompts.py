"""The prompts of a ledger's calls: each message is stored once, however many prompts have it.

Most of a prompt is in others too: instructions, examples, rubrics.
"""

import json
import sqlite3
from collections.abc import Sequence

from vcjax.core.files import hash_text
from vcjax.roles.role import Message

_TABLES = (
    "CREATE TABLE IF NOT EXISTS messages (hash TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS prompts (hash TEXT PRIMARY KEY, parts TEXT NOT NULL) WITHOUT ROWID",
)
_HEX_DIGITS = 32


def make_tables(connection: sqlite3.Connection) -> None:
    """Makes the tables where there are none: ledgers of earlier versions have no prompts."""
    for statement in _TABLES:
        connection.execute(statement)


def record_prompt(connection: sqlite3.Connection, hash: str, messages: Sequence[Message]) -> None:
    """Stores a prompt by the hash that its calls have, unless it is there."""
    parts = []
    for message in messages:
        text = message["content"]
        key = hash_text(text)[:_HEX_DIGITS]
        connection.execute("INSERT OR IGNORE INTO messages VALUES (?, ?)", (key, text))
        parts.append([message["role"], key])
    connection.execute("INSERT OR IGNORE INTO prompts VALUES (?, ?)", (hash, json.dumps(parts)))


def read_prompt(connection: sqlite3.Connection, hash: str) -> list[Message] | None:
    """The messages of a prompt; None where the ledger hasn't stored it."""
    if not _has_prompts(connection, "main"):
        return None
    row = connection.execute("SELECT parts FROM prompts WHERE hash = ?", (hash,)).fetchone()
    if row is None:
        return None
    find = "SELECT text FROM messages WHERE hash = ?"
    return [
        {"role": role, "content": connection.execute(find, (key,)).fetchone()[0]}
        for role, key in json.loads(row[0])
    ]


def take_prompts(connection: sqlite3.Connection) -> None:
    """Copies the prompts of the attached database `source`."""
    if _has_prompts(connection, "source"):
        for table in ("messages", "prompts"):
            connection.execute(f"INSERT OR IGNORE INTO main.{table} SELECT * FROM source.{table}")


def _has_prompts(connection: sqlite3.Connection, database: str) -> bool:
    query = f"SELECT count(*) FROM {database}.sqlite_master WHERE name = 'prompts'"
    return bool(connection.execute(query).fetchone()[0])
