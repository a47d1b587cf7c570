"""A role whose replies were written down before: for replays and for people's own answers."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vcjax.core.errors import UserError
from vcjax.core.files import read_jsonl
from vcjax.roles.role import OK, Ask, Reply, writable

_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("text", "finish_reason", "outcome", "detail", "model"), (str,)),
    **dict.fromkeys(("prompt_tokens", "tokens"), (int,)),
    **dict.fromkeys(("seconds", "cost"), (int, float)),
}


class RecordedRole:
    """Replies from a JSONL file of `{"key": ..., "text": ...}` records.

    Each may have the other fields of a `Reply` as well, but for `alternatives`. Where `outcome` is
    given and isn't `ok`, it is the finish reason too, and the text may be left out.
    """

    def __init__(self, path: str | Path, *, family: str = "recorded") -> None:
        """Raises: UserError for a bad line or a key that comes twice."""
        self.family, self.model = family, f"recorded:{Path(path).name}"
        self._path, self._replies = path, {}
        for number, record in read_jsonl(path):
            if not isinstance(record, dict) or "key" not in record or not _has_answer(record):
                raise UserError(f"{path}:{number}: a recorded reply needs `key` and `text`")
            if record["key"] in self._replies:
                raise UserError(f"{path}:{number}: the key {record['key']!r} comes twice")
            self._replies[record["key"]] = _reply(f"{path}:{number}", record)

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


def _has_answer(record: dict[str, Any]) -> bool:
    return "text" in record or record.get("outcome", OK) != OK


def _reply(where: str, record: dict[str, Any]) -> Reply:
    given = {name: value for name, value in record.items() if name in _KINDS}
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, _KINDS[name]):
            kind = "a string" if _KINDS[name] == (str,) else "a number"
            raise UserError(f"{where}: `{name}` must be {kind}, not {value!r}")
    outcome = given.get("outcome", OK)
    reason = "stop" if outcome == OK else outcome
    empty = {"text": "", "finish_reason": reason, "prompt_tokens": 0, "tokens": 0}
    reply = Reply(**{**empty, **given})
    return replace(reply, text=writable(reply.text))
