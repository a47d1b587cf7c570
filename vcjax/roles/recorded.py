"""A role whose replies were written down before: transcripts, people's own answers, and scores."""

import json
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vcjax.core.errors import UserError
from vcjax.core.files import read_jsonl
from vcjax.core.validation import explain
from vcjax.roles.role import OK, Ask, LikelihoodAsk, LogProbs, Reply, writable


class _RecordedReply(BaseModel):
    """One line of a transcript; other fields are ignored."""

    model_config = ConfigDict(strict=True)

    key: Hashable
    text: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    tokens: int = 0
    outcome: str = OK
    detail: str = ""
    seconds: float = 0.0
    cost: float | None = None
    model: str = ""


class _RecordedScores(BaseModel):
    """One line of log-likelihoods; other fields are ignored."""

    model_config = ConfigDict(strict=True)

    key: Any = None
    messages: list[dict[str, str]] | None = None
    answers: list[str]
    logprobs: list[Annotated[float, Field(le=0, allow_inf_nan=False)]]


class RecordedRole:
    """Replies and log-likelihoods from a JSONL file.

    A reply is `{"key": ..., "text": ...}`. It may have the other fields of a `Reply` too, except
    `alternatives`. Where `outcome` is given and isn't `ok`, it is the finish reason too, and the
    text may be left out.

    Log-likelihoods are `{"answers": [...], "logprobs": [...]}`, natural logarithms, with the `key`
    of the ask or, to be found whatever the key is, with its `messages`. The answers may be in any
    order, and more than are asked for.
    """

    def __init__(self, path: str | Path, *, family: str = "recorded") -> None:
        """Raises: UserError for a bad line or a repeated key."""
        self.family = family
        # Not the file's hash: a transcript that is continued has the same replies as before.
        self.model = self.identity = f"recorded:{Path(path).name}"
        self._path, self._replies = path, {}
        self._scores: dict[str, dict[str, float]] = {}
        for number, record in read_jsonl(path):
            if isinstance(record, dict) and "answers" in record:
                self._add_scores(f"{path}:{number}", record)
                continue
            key, reply = _parse(f"{path}:{number}", record)
            if key in self._replies:
                raise UserError(f"{path}:{number}: the key {key!r} comes twice")
            self._replies[key] = reply

    def knows(self, key: str) -> bool:
        """Whether there is a recorded reply to an ask with this key."""
        return key in self._replies

    def ask(
        self, asks: Sequence[Ask], on_reply: Callable[[int, Reply], None] | None = None
    ) -> list[Reply]:
        """Looks up each ask's key; see `Role.ask`.

        Raises:
          UserError: a key has no recorded reply; then `on_reply` wasn't called.
        """
        # All are looked up first, so that nothing is recorded of a batch that fails.
        for ask in asks:
            if ask.key not in self._replies:
                raise UserError(f"{self._path}: no reply recorded for {ask.key!r}")
        replies = [self._replies[ask.key] for ask in asks]
        for index, reply in enumerate(replies):
            if on_reply is not None:
                on_reply(index, reply)
        return replies

    def log_likelihoods(
        self,
        asks: Sequence[LikelihoodAsk],
        on_scored: Callable[[int, LogProbs], None] | None = None,
    ) -> list[LogProbs]:
        """Looks up each ask, by its key or else its messages; see `ScoringRole.log_likelihoods`.

        Raises:
          UserError: an ask or an answer without a recorded log-likelihood; then `on_scored` wasn't
            called.
        """
        scores = [self._scores_of(ask) for ask in asks]
        for index, own in enumerate(scores):
            if on_scored is not None:
                on_scored(index, own)
        return scores

    def _add_scores(self, where: str, record: Any) -> None:
        try:
            found = _RecordedScores.model_validate(record)
        except ValidationError as failure:
            raise UserError(f"{where}: {explain(failure, _RecordedScores)}") from None
        if ("key" in record) == (found.messages is not None):
            raise UserError(f"{where}: recorded log-likelihoods need either `key` or `messages`")
        if len(found.answers) != len(found.logprobs) or len(set(found.answers)) != len(
            found.answers
        ):
            raise UserError(f"{where}: not one logprob for each of different answers")
        name = _name(found.key) if found.messages is None else _name(found.messages)
        if name in self._scores:
            raise UserError(f"{where}: the log-likelihoods of {name} come twice")
        self._scores[name] = dict(zip(found.answers, found.logprobs, strict=True))

    def _scores_of(self, ask: LikelihoodAsk) -> LogProbs:
        own = self._scores.get(_name(ask.key), self._scores.get(_name(ask.messages)))
        if own is None:
            raise UserError(f"{self._path}: no log-likelihoods recorded for {ask.key!r}")
        for answer in ask.answers:
            if answer not in own:
                raise UserError(
                    f"{self._path}: no log-likelihood recorded for the answer {answer!r} to "
                    f"{ask.key!r}"
                )
        return tuple(own[answer] for answer in ask.answers)


def _name(identity: Any) -> str:
    """A key, or messages, as one string; JSON knows no tuples."""
    return json.dumps(identity, ensure_ascii=False, sort_keys=True)


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
