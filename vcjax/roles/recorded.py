"""A role whose replies were written down before: for replays and for people's own answers."""

from collections.abc import Callable, Sequence
from pathlib import Path

from vcjax.foundation.errors import UserError
from vcjax.foundation.files import read_jsonl
from vcjax.roles.role import Ask, Reply


class RecordedRole:
    """Replies from a JSONL file of `{"key": ..., "text": ..., "finish_reason"?: ...}` records."""

    def __init__(self, path: str | Path, *, family: str = "recorded") -> None:
        """Raises: UserError for a bad line or a key that comes twice."""
        self.family, self.model = family, f"recorded:{Path(path).name}"
        self._path, self._replies = path, {}
        for number, record in read_jsonl(path):
            if not isinstance(record, dict) or not {"key", "text"} <= record.keys():
                raise UserError(f"{path}:{number}: a recorded reply needs `key` and `text`")
            if record["key"] in self._replies:
                raise UserError(f"{path}:{number}: the key {record['key']!r} comes twice")
            reason = record.get("finish_reason", "stop")
            if not isinstance(record["text"], str) or not isinstance(reason, str):
                raise UserError(f"{path}:{number}: `text` and `finish_reason` must be strings")
            self._replies[record["key"]] = Reply(record["text"], reason, 0, 0)

    def ask(
        self, asks: Sequence[Ask], on_reply: Callable[[int, Reply], None] | None = None
    ) -> list[Reply]:
        """Looks each ask up by its key; a key that was never recorded is a UserError."""
        for ask in asks:
            if ask.key not in self._replies:
                raise UserError(f"{self._path}: no reply recorded for {ask.key!r}")
        replies = [self._replies[ask.key] for ask in asks]
        for index, reply in enumerate(replies):
            if on_reply is not None:
                on_reply(index, reply)
        return replies
