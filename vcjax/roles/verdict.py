"""The verdict of a Critic or a judge: the JSON it must write, and what counts as one."""

import json
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vcjax.charter.registry import Language
from vcjax.roles.role import Reply

LOWEST, HIGHEST = 0, 5
# A sentence. A Chinese character says about as much as three letters, and a small model's tokenizer
# spends two or three tokens on it.
REASON_CHARACTERS = {"en": 160, "zh": 60}


def verdict_schema(lang: Language) -> dict[str, Any]:
    """The JSON schema of a verdict whose reason is written in `lang`.

    The reason comes first, so that the score is conditioned on it instead of excused by it; its
    bound sees to it that the score is reached.
    """
    return {
        "type": "object",
        "properties": {
            "reason": {"type": "string", "maxLength": REASON_CHARACTERS[lang]},
            "score": {"type": "integer", "enum": list(range(LOWEST, HIGHEST + 1))},
        },
        "required": ["reason", "score"],
        "additionalProperties": False,
    }


Form = TypeVar("Form", bound=BaseModel)


class Unread(Exception):
    """A reply that is no verdict. Its text says why, in one word."""


@dataclass(frozen=True)
class Score:
    """A score with the judge's reason, or why there is none.

    `unscored_reason` is a finish reason other than `stop` (`length`), `malformed` (not JSON),
    `schema` (other JSON), `out_of_range` or `no_judge`.
    """

    score: int | None
    unscored_reason: str | None = None
    reason: str | None = None


class _Verdict(BaseModel):
    """`verdict_schema` but for the range of the score, which is told apart from other faults."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: Annotated[str, Field(max_length=max(REASON_CHARACTERS.values()))]
    score: int


def parse_verdict(reply: Reply) -> Score:
    """Reads a verdict. Only a finished reply that is exactly valid JSON of the schema is a score.

    Nothing is repaired and no number is fished out of prose: what can't be read is unscored.
    """
    try:
        verdict = read_verdict(reply, _Verdict)
    except Unread as error:
        return Score(None, str(error))
    if not LOWEST <= verdict.score <= HIGHEST:
        return Score(None, "out_of_range", verdict.reason)
    return Score(verdict.score, None, verdict.reason)


def read_verdict(reply: Reply, form: type[Form]) -> Form:
    """A finished reply that is exactly valid JSON of `form`.

    Raises:
      Unread: it isn't, and in one word why: a finish reason other than `stop`, `malformed` or
        `schema`.
    """
    if reply.finish_reason != "stop":
        raise Unread(reply.finish_reason)
    try:
        value = json.loads(reply.text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError):
        raise Unread("malformed") from None
    try:
        return form.model_validate(value)
    except ValidationError:
        raise Unread("schema") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A name that comes twice has two values: `json` would keep the last one silently."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name comes twice")
    return dict(pairs)
