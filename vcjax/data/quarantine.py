"""Bad records, set aside in a file with the reason and where each was read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TextIO


class Quarantine:
    """Writes bad records into a file, which is made with the first of them.

    Attributes:
      count: how many it has written.
      first: the reason of the first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: TextIO | None = None
        self.count = 0
        self.first = ""

    def add(self, bad: Mapping[str, Any]) -> None:
        """Writes `{file, line, reason, raw}`."""
        if self._stream is None:
            # Half of a surrogate pair may be what is wrong: it becomes the escape of JSON for it.
            self._stream = self._path.open("w", encoding="utf-8", errors="backslashreplace")
            self.first = bad["reason"]
        self._stream.write(json.dumps(bad, ensure_ascii=False) + "\n")
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._stream is not None:
            self._stream.close()
