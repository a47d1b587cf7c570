"""Whether the two framings of one question get answers that are worth the same."""

from collections import Counter
from typing import Any


class Framings:
    """Counts pairs of framings by whether both answers ended alike."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._pairs: Counter[str] = Counter()

    def add(self, id: str, kind: str) -> None:
        """Args: `id` is an attempt's; those of a pair have the indices 2n and 2n + 1."""
        cell, _, index = id.rpartition(".")
        pair = f"{cell}.{int(index) // 2}"
        if pair not in self._first:
            self._first[pair] = kind
            return
        kinds = {self._first.pop(pair), kind}
        if kinds <= {"accepted", "rejected"}:
            self._pairs["consistent" if len(kinds) == 1 else "inconsistent"] += 1
        else:
            self._pairs["undecided"] += 1

    def summary(self) -> dict[str, Any] | None:
        """Pairs of which both answers were accepted or both rejected, pairs of which one was, and
        pairs that can't be compared; None without any pair."""
        names = ("consistent", "inconsistent", "undecided")
        return {name: self._pairs[name] for name in names} if self._pairs else None
