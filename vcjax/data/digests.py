"""Exact duplicates, by digests in a temporary database, so that memory is flat for any corpus.

The same kind of database has the labelled answers that wait for their pair.
"""

import hashlib
import json
import sqlite3
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self

from vcjax.data.records import Record

CACHE = 32 << 10  # KiB of pages in memory, however large the database is
SIZE = 16
"""Bytes of a digest. Among 10^9 records two have the same with a probability of 10^-21."""


class TemporaryDatabase:
    """A database without a name: SQLite makes a file in the folder for temporary files and removes
    it at the end, also after a kill."""

    def __init__(self, schema: str) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        # Neither journal nor fsync: the file is gone after a crash in any case, so nothing is to be
        # rescued.
        for setting in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{CACHE}"):
            self._database.execute(f"PRAGMA {setting}")
        for statement in schema.split(";"):
            self._database.execute(statement)
        # Without a commit: a transaction for each row would write a page for each row.
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
        super().__init__("CREATE TABLE digests (digest BLOB PRIMARY KEY) WITHOUT ROWID")

    def add(self, digest: bytes) -> bool:
        """Adds a digest; returns whether it is new."""
        added = self._database.execute("INSERT OR IGNORE INTO digests VALUES (?)", (digest[:SIZE],))
        return added.rowcount == 1

    def __contains__(self, digest: bytes) -> bool:
        found = self._database.execute("SELECT 1 FROM digests WHERE digest = ?", (digest[:SIZE],))
        return found.fetchone() is not None


def fingerprint(record: Record) -> bytes:
    """The `fingerprint_of` a record's texts: its id, source and domain are not part of it."""
    return fingerprint_of(record.texts())


def fingerprint_of(texts: Iterable[str]) -> bytes:
    """Hash of texts after NFC and with every run of white space made one space."""
    digest = hashlib.sha256()
    for text in texts:
        normal = " ".join(unicodedata.normalize("NFC", text).split())
        digest.update(normal.encode() + b"\0")
    return digest.digest()


class Deduplicated:
    """Iterates over the first of each set of exact duplicates, and counts the others.

    Attributes:
      duplicates: how many records have been left out so far.
    """

    def __init__(self, records: Iterable[Record], keep: Callable[[Record, bytes], None]):
        """Args: `keep` is called with each record that is left, and its `fingerprint`."""
        self._records, self._keep = records, keep
        self.duplicates = 0

    def __iter__(self) -> Iterator[Record]:
        self.duplicates = 0
        with Digests() as earlier:
            for record in self._records:
                digest = fingerprint(record)
                if earlier.add(digest):
                    self._keep(record, digest)
                    yield record
                else:
                    self.duplicates += 1


class LabelledAnswers(TemporaryDatabase):
    """Answers that are labelled good or bad one by one (KTO, arXiv 2402.01306), to be paired."""

    def __init__(self) -> None:
        super().__init__(
            "CREATE TABLE answers (number INTEGER PRIMARY KEY, prompt BLOB, good INTEGER, "
            "position TEXT, fields TEXT)"
        )
        self.count = 0

    def add(self, prompt: bytes, good: bool, position: str, fields: Mapping[str, Any]) -> None:
        """Adds an answer to the prompt with this digest, with the other fields of its record."""
        row = (prompt[:SIZE], good, position, json.dumps(fields))
        self._database.execute(
            "INSERT INTO answers (prompt, good, position, fields) VALUES (?, ?, ?, ?)", row
        )
        self.count += 1

    def pairs(self) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Yields the position of the good answer, and the fields of the good and of the bad one.

        The n-th good answer to a prompt is paired with the n-th bad one; the others have no pair.
        The order is that of the good answers.
        """
        # By rank within a prompt: a join by the prompt alone would pair each good answer with each
        # bad one, and a prompt with many answers would be most of the data.
        ranked = (
            "(SELECT *, row_number() OVER (PARTITION BY prompt ORDER BY number) AS rank "
            "FROM answers WHERE good = {})"
        )
        query = (
            f"SELECT a.position, a.fields, b.fields FROM {ranked.format(1)} a "
            f"JOIN {ranked.format(0)} b ON a.prompt = b.prompt AND a.rank = b.rank "
            "ORDER BY a.number"
        )
        for position, good, bad in self._database.execute(query):
            yield position, json.loads(good), json.loads(bad)
