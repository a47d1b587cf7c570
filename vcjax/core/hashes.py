"""SHA-256 of large files, cached by size and modification time.

A model's files are hashed each time a run names them as a parent, and reading 140 GB takes minutes.
`launch.verify` doesn't use this cache: it looks for bytes that changed while these didn't.
"""

import logging
import sqlite3
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from vcjax.core.files import cache_folder, hash_file
from vcjax.core.stores import absolute, stamp

NAME = "hashes.sqlite"
LEAST = 2**20
"""Bytes; a smaller file is hashed as fast as it is looked up."""
_SETTLED = 2.0
"""Seconds for which a file must not have changed: within the resolution of a file system's clock,
bytes may change and the modification time stay."""

_log = logging.getLogger(__name__)
_Stamp = tuple[int, int, int]


def cached_hashes(paths: Sequence[Path]) -> list[str]:
    """SHA-256 of each file, in hex; of a large one that has not changed since, from the cache."""
    before = {path: stamp(path) for path in paths}
    large = [path for path, about in before.items() if about[0] >= LEAST]
    known = _look_up(large, before) if large else {}
    with ThreadPoolExecutor() as pool:  # hashlib releases the GIL
        todo = [path for path in before if path not in known]
        found = dict(zip(todo, pool.map(hash_file, todo), strict=True))
    if new := [path for path in large if path in found]:
        _store(new, before, found)
    found |= known
    return [found[path] for path in paths]


def _look_up(paths: Sequence[Path], stamps: dict[Path, _Stamp]) -> dict[Path, str]:
    known = {}
    try:
        with closing(_open()) as database:
            for path in paths:
                query = "SELECT size, modified, changed, hash FROM files WHERE path = ?"
                row = database.execute(query, (str(absolute(path)),)).fetchone()
                # Size and both times: a file that was replaced by an older one keeps its
                # modification time, but not the time of its inode.
                if row is not None and row[:3] == stamps[path]:
                    known[path] = row[3]
    except (OSError, sqlite3.Error) as error:
        _log.warning("%s: %s; files are hashed anew", cache_folder() / NAME, error)
    return known


def _store(paths: Sequence[Path], before: dict[Path, _Stamp], hashes: dict[Path, str]) -> None:
    # Only files with the same stamp before and after: others have changed while they were hashed.
    now = time.time_ns()
    rows = [
        (str(absolute(path)), *before[path], hashes[path])
        for path in paths
        if stamp(path) == before[path] and now - before[path][1] > _SETTLED * 1e9
    ]
    try:
        with closing(_open()) as database, database:
            database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", rows)
    except (OSError, sqlite3.Error) as error:
        _log.warning("%s: %s; hashes are not cached", cache_folder() / NAME, error)


def _open() -> sqlite3.Connection:
    cache_folder().mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(cache_folder() / NAME, timeout=60)
    database.execute(
        "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER, modified INTEGER, "
        "changed INTEGER, hash TEXT)"
    )
    return database
