"""The ledger: every call and every attempt, in SQLite, on disk before the next one is asked."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vcjax.adversarial.matrix import Attempt
from vcjax.adversarial.verdict import Verdict
from vcjax.foundation.errors import UserError
from vcjax.foundation.files import hash_text
from vcjax.roles.role import Ask, Reply

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
  attempt TEXT NOT NULL, stage TEXT NOT NULL, model TEXT NOT NULL, family TEXT NOT NULL,
  prompt_hash TEXT NOT NULL, parameters TEXT NOT NULL, seed INTEGER NOT NULL, text TEXT NOT NULL,
  finish_reason TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, tokens INTEGER NOT NULL,
  created TEXT NOT NULL, PRIMARY KEY (attempt, stage)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attempts (
  id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, subdomain TEXT NOT NULL,
  attack TEXT NOT NULL, lang TEXT NOT NULL, topic TEXT NOT NULL, source TEXT NOT NULL,
  attacker_fault TEXT, query TEXT NOT NULL, answer TEXT, kind TEXT NOT NULL,
  reason TEXT NOT NULL, score INTEGER, candidates TEXT NOT NULL, charter TEXT NOT NULL,
  created TEXT NOT NULL
);
"""


class Ledger:
    """One run's calls and attempts.

    A call is committed when it has finished and an attempt when its verdict is decided, so that
    `kill -9` loses no finished call; what is recorded is never asked again.
    """

    def __init__(self, path: str | Path) -> None:
        """Opens or makes the file. Raises: UserError if it isn't a ledger."""
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise UserError(f"{path}: not a ledger ({error})") from None

    def close(self) -> None:
        """Folds the write-ahead log into the file and closes it."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def reply(self, attempt: str, stage: str, ask: Ask) -> Reply | None:
        """The recorded reply to a call, or None.

        Raises:
          UserError: the call was recorded for another prompt; the ledger isn't of this run.
        """
        row = self._connection.execute(
            "SELECT * FROM calls WHERE attempt = ? AND stage = ?", (attempt, stage)
        ).fetchone()
        if row is None:
            return None
        if row["prompt_hash"] != _prompt_hash(ask):
            raise UserError(f"ledger: {attempt}/{stage} was asked with another prompt")
        return Reply(row["text"], row["finish_reason"], row["prompt_tokens"], row["tokens"])

    def record_call(
        self, attempt: str, stage: str, ask: Ask, reply: Reply, *, model: str, family: str
    ) -> None:
        """Writes one finished call through to the disk."""
        parameters = {
            "max_tokens": ask.max_tokens,
            "temperature": ask.temperature,
            "top_p": ask.top_p,
            "json_schema": ask.json_schema is not None,
        }
        values = (
            *(attempt, stage, model, family, _prompt_hash(ask), json.dumps(parameters), ask.seed),
            *(reply.text, reply.finish_reason, reply.prompt_tokens, reply.tokens, _now()),
        )
        marks = ", ".join("?" * len(values))
        self._connection.execute(f"INSERT INTO calls VALUES ({marks})", values)

    def record_attempt(
        self,
        attempt: Attempt,
        *,
        source: str,
        attacker_fault: str | None,
        query: str,
        answer: str | None,
        verdict: Verdict,
        candidates: list[dict[str, Any]],
        charter: str,
    ) -> None:
        """Writes the end of one attempt. `candidates` holds every answer with its own verdict."""
        planned = asdict(attempt)
        values = (
            *(planned[name] for name in ("id", "number", "subdomain", "attack", "lang", "topic")),
            *(source, attacker_fault, query, answer, verdict.kind, verdict.reason, verdict.score),
            *(json.dumps(candidates, ensure_ascii=False), charter, _now()),
        )
        marks = ", ".join("?" * len(values))
        self._connection.execute(f"INSERT INTO attempts VALUES ({marks})", values)

    def attempts(self) -> Iterator[dict[str, Any]]:
        """All decided attempts in the order of their numbers; `candidates` is parsed."""
        for row in self._connection.execute("SELECT * FROM attempts ORDER BY number"):
            yield {**dict(row), "candidates": json.loads(row["candidates"])}

    def tokens(self) -> dict[str, int]:
        """Generated tokens by stage."""
        rows = self._connection.execute(
            "SELECT substr(stage, 1, instr(stage || '/', '/') - 1) AS role, sum(tokens) AS total "
            "FROM calls GROUP BY role ORDER BY role"
        )
        return {row["role"]: row["total"] for row in rows}

    @contextmanager
    def together(self) -> Iterator[None]:
        """All of the block's records, or none."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _prompt_hash(ask: Ask) -> str:
    return hash_text(json.dumps([list(ask.messages), ask.json_schema], ensure_ascii=False))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
