"""What passes decide between two rounds, in a database beside the shards of the round."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from vcjax.data.corpus.shards import Stored
from vcjax.data.corpus.step import Decision, Observed, Pass

DECISIONS = "decisions.sqlite"

Decided = dict[int, tuple[str, Decision]]
"""By number of a document: the pass that takes it out, and why."""


def decide(folder: Path, passes: Sequence[Pass], stored: Stored) -> None:
    """Lets the passes of a round decide, one after the other; each once, also after a kill.

    Args:
      folder: of the round.
      stored: its documents, with what each pass observed of them.
    """
    with closing(sqlite3.connect(folder / DECISIONS, isolation_level=None)) as database:
        database.executescript(
            "CREATE TABLE IF NOT EXISTS decisions "
            "(number INTEGER PRIMARY KEY, step TEXT, reason TEXT, detail TEXT);"
            "CREATE TABLE IF NOT EXISTS done (step TEXT PRIMARY KEY, did TEXT)"
        )
        for each in passes:
            name = each.name
            if database.execute("SELECT 1 FROM done WHERE step = ?", (name,)).fetchone():
                continue
            left = np.ones(len(stored), np.bool_)
            for (taken,) in database.execute("SELECT number FROM decisions"):
                left[taken] = False
            observed, did = _Observations(stored, name, left), Counter[str]()
            found = each.decide(observed, stored.text, did)
            # A decision and the mark that its pass is done are one transaction: after a kill a
            # pass has decided about all documents or about none.
            database.execute("BEGIN")
            database.executemany(
                "INSERT INTO decisions VALUES (?, ?, ?, ?)",
                ((one.number, name, one.reason, one.detail) for one in found),
            )
            database.execute("INSERT INTO done VALUES (?, ?)", (name, json.dumps(did)))
            database.execute("COMMIT")


def read_decisions(folder: Path, first: int, count: int) -> Decided:
    """The decisions about `count` documents from number `first` on."""
    path = folder / DECISIONS
    if not path.is_file():
        return {}
    query = "SELECT number, step, reason, detail FROM decisions WHERE number BETWEEN ? AND ?"
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as database:
        rows = database.execute(query, (first, first + count - 1)).fetchall()
    return {number: (step, Decision(number, *rest)) for number, step, *rest in rows}


def read_did(folder: Path) -> dict[str, Counter[str]]:
    """What the passes of a round counted, by their names."""
    path = folder / DECISIONS
    if not path.is_file():
        return {}
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT step, did FROM done").fetchall()
    return {name: Counter(json.loads(did)) for name, did in rows}


class _Observations(Iterable[Observed]):
    """What a pass observed of the documents that the passes before it left."""

    def __init__(self, stored: Stored, name: str, left: np.ndarray) -> None:
        self._stored, self._name, self._left = stored, name, left

    def __iter__(self) -> Iterator[Observed]:
        return (each for each in self._stored.observed(self._name) if self._left[each.number])
