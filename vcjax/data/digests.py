"""What has been seen of a corpus, on disk: sets of digests, and answers that wait for a pair."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any, Self

CACHE = 32 << 10  # KiB of pages in memory, however large the database is
SIZE = 16
"""Bytes of a digest. Among 10^9 records two have the same with a probability of 10^-21."""


class TemporaryDatabase:
    """A database without a name: SQLite makes a file in the folder for temporary files and removes
    it at the end, also after a kill."""

    def __init__(self, schema: str) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for setting in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{CACHE}"):
            self._database.execute(f"PRAGMA {setting}")
        for statement in schema.split(";"):
            self._database.execute(statement)
        # Without an end: a transaction for each row would write a page for each row.
        self._database.execute("BEGIN")

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Digests(TemporaryDatabase):
    """A set of digests, on disk.

    A million take 23 MB there and 4 to 6 seconds to add; memory grows to `CACHE` and no further
    (`tests/slow/test_flat_memory.py` measures it).
    """

    def __init__(self) -> None:
        super().__init__("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")

    def add(self, digest: bytes) -> bool:
        """Takes a digest in; returns whether it is new."""
        added = self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest[:SIZE],))
        return added.rowcount == 1

    def __contains__(self, digest: bytes) -> bool:
        found = self._database.execute("SELECT 1 FROM seen WHERE digest = ?", (digest[:SIZE],))
        return found.fetchone() is not None


class LabelledAnswers(TemporaryDatabase):
    """Answers that are labelled good or bad one by one (KTO, arXiv 2402.01306), to be paired."""

    def __init__(self) -> None:
        super().__init__(
            "CREATE TABLE answers (number INTEGER PRIMARY KEY, prompt BLOB, good INTEGER, "
            "place TEXT, fields TEXT)"
        )
        self.count = 0

    def add(self, prompt: bytes, good: bool, place: str, fields: Mapping[str, Any]) -> None:
        """Takes an answer to the prompt with this digest, and what else its record will have."""
        row = (prompt[:SIZE], good, place, json.dumps(fields))
        self._database.execute(
            "INSERT INTO answers (prompt, good, place, fields) VALUES (?, ?, ?, ?)", row
        )
        self.count += 1

    def pairs(self) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Yields the place of the good answer, and the fields of the good and of the bad one.

        The n-th good answer to a prompt goes with the n-th bad one; the others have no pair. The
        order is that of the good answers.
        """
        ranked = (
            "(SELECT *, row_number() OVER (PARTITION BY prompt ORDER BY number) AS rank "
            "FROM answers WHERE good = {})"
        )
        query = (
            f"SELECT a.place, a.fields, b.fields FROM {ranked.format(1)} a "
            f"JOIN {ranked.format(0)} b ON a.prompt = b.prompt AND a.rank = b.rank "
            "ORDER BY a.number"
        )
        for place, good, bad in self._database.execute(query):
            yield place, json.loads(good), json.loads(bad)
