"""A role whose replies were written down before: transcripts, and people's own answers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from vcjax.core.errors import UserError
from vcjax.core.files import read_jsonl
from vcjax.core.validation import explain
from vcjax.roles.role import OK, Ask, Reply, writable


class _RecordedReply(BaseModel):
    """One line of a transcript; other fields are ignored."""

    model_config = ConfigDict(strict=True)

    key: Any
    text: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    tokens: int = 0
    outcome: str = OK
    detail: str = ""
    seconds: float = 0.0
    cost: float = 0.0
    model: str = ""


class RecordedRole:
    """Replies from a JSONL file of `{"key": ..., "text": ...}` records.

    Each may have the other fields of a `Reply` as well, except `alternatives`. Where `outcome` is
    given and isn't `ok`, it is the finish reason too, and the text may be left out.
    """

    def __init__(self, path: str | Path, *, family: str = "recorded") -> None:
        """Raises: UserError for a bad line or a repeated key."""
        self.family, self.model = family, f"recorded:{Path(path).name}"
        self._path, self._replies = path, {}
        for number, record in read_jsonl(path):
            key, reply = _parse(f"{path}:{number}", record)
            if key in self._replies:
                raise UserError(f"{path}:{number}: the key {key!r} comes twice")
            self._replies[key] = reply

    def ask(
        self, asks: Sequence[Ask], on_reply: Callable[[int, Reply], None] | None = None
    ) -> list[Reply]:
        """Looks up each ask's key; see `Role.ask`.

        Raises:
          UserError: a key has no recorded reply; then `on_reply` wasn't called.
        """
        for ask in asks:
            if ask.key not in self._replies:
                raise UserError(f"{self._path}: no reply recorded for {ask.key!r}")
        replies = [self._replies[ask.key] for ask in asks]
        for index, reply in enumerate(replies):
            if on_reply is not None:
                on_reply(index, reply)
        return replies


def _parse(where: str, record: Any) -> tuple[Any, Reply]:
    """The key and the reply in a line. Args: `where` is `file:line`."""
    answered = isinstance(record, dict) and ("text" in record or record.get("outcome", OK) != OK)
    if not answered or "key" not in record:
        raise UserError(f"{where}: a recorded reply needs `key` and `text`")
    # Halves of surrogate pairs, which JSON's "\ud800" makes, are no strings to pydantic.
    values = {
        name: writable(value) if isinstance(value, str) and name != "key" else value
        for name, value in record.items()
    }
    try:
        found = _RecordedReply.model_validate(values)
    except ValidationError as failure:
        raise UserError(f"{where}: {explain(failure, _RecordedReply)}") from None
    reason = found.finish_reason or ("stop" if found.outcome == OK else found.outcome)
    return found.key, Reply(**{**found.model_dump(exclude={"key"}), "finish_reason": reason})
