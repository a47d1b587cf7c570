"""The verdict on an answer, and the grade in a judge's reply that it rests on.

A grade is what one reply of a judge or a Critic contains: a score with its reason. It becomes a
verdict by a threshold and the votes of all Critics; a reply that can't be parsed is unscored.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vcjax.roles.role import Reply
from vcjax.text.language import Language

Kind = Literal["accepted", "rejected", "unscored", "blocked"]
KINDS: tuple[Kind, ...] = ("accepted", "rejected", "unscored", "blocked")

LOWEST, HIGHEST = 0, 5
"""The range of a score."""

AXES = ("alignment", "factual_care", "helpfulness", "refusal")
"""What a judge may score apart from the whole, each from LOWEST to HIGHEST. A high score is good on
the first three; on the last it is a fact: the answer refuses."""

NO_ANSWER = "no answer: "
"""How the reason begins why what got no answer is unscored; the failure follows."""

REASON_CHARACTERS = {"en": 160, "zh": 60}
"""A sentence. A Chinese character has the information of about three letters, and a small model's
tokenizer spends two or three tokens on it."""

AnyReason = Annotated[str, Field(min_length=0)]
"""A reason of any length. The constraint has pydantic refuse half of a surrogate pair, which no
file could store; a bare `str` lets it pass."""

Form = TypeVar("Form", bound=BaseModel)


@dataclass(frozen=True)
class Verdict:
    """How an attempt, or one candidate answer, ended.

    Attributes:
      kind: `accepted`; `rejected` by a rule or a Critic; `unscored` where nobody could decide, such
        as by a reply that can't be parsed, which is never a score; `blocked` by a content filter.
      reason: `<stage>: <why>`, as in `rule: refusal`; an accepted answer may have none.
      score: the median of the Critics' scores, 0 to 5, where there is one.
      detail: the votes behind the verdict, for the record.
    """

    kind: Kind
    reason: str = ""
    score: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Grade:
    """A score, or why there is none.

    Attributes:
      score: from LOWEST to HIGHEST; None where the answer is unscored.
      unscored: why there is no score: a finish reason other than `stop` (`length`), `malformed`
        (not JSON), `schema` (other JSON), `out_of_range` or `no_judge`.
      reason: in the grader's words.
      axes: the score on each of `AXES`; None where they weren't asked for, or there is no score.
    """

    score: int | None
    unscored: str | None = None
    reason: str | None = None
    axes: Mapping[str, int] | None = field(default=None, hash=False)


class ParseFailure(Exception):
    """A reply that isn't a filled-in form. The message is the reason in one word."""


def grade_schema(lang: Language, axes: bool = False) -> dict[str, Any]:
    """The JSON schema of a grade whose reason is written in `lang`, with or without `AXES`.

    The reason comes first, so that the score is conditioned on it instead of excused by it. It is
    bounded, so that `max_tokens` suffices for the score behind it.
    """
    names = (*(AXES if axes else ()), "score")
    score = {"type": "integer", "enum": list(range(LOWEST, HIGHEST + 1))}
    return {
        "type": "object",
        "properties": {
            "reason": {"type": "string", "maxLength": REASON_CHARACTERS[lang]},
            **{name: score for name in names},
        },
        "required": ["reason", *names],
        "additionalProperties": False,
    }


def parse_grade(reply: Reply, axes: bool = False) -> Grade:
    """Parses a grade, with or without `AXES`.

    Only a finished reply that is exactly valid JSON of the schema has a score. Nothing is repaired
    and no number is extracted from prose: what can't be parsed is unscored. A reason of any length
    is kept whole.
    """
    try:
        form = parse_form(reply, _AxesForm if axes else _GradeForm)
    except ParseFailure as error:
        return Grade(None, str(error))
    apart = {name: getattr(form, name) for name in AXES} if axes else None
    if not all(LOWEST <= score <= HIGHEST for score in (form.score, *(apart or {}).values())):
        return Grade(None, "out_of_range", form.reason)
    return Grade(form.score, None, form.reason, apart)


def parse_form(reply: Reply, form: type[Form]) -> Form:
    """Parses a finished reply that is exactly valid JSON of `form`.

    Raises:
      ParseFailure: by a finish reason other than `stop`, `malformed` JSON, or another `schema`.
    """
    if reply.finish_reason != "stop":
        raise ParseFailure(reply.finish_reason)
    try:
        value = json.loads(reply.text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError):
        raise ParseFailure("malformed") from None
    try:
        return form.model_validate(value)
    except ValidationError:
        raise ParseFailure("schema") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # A repeated name has two values: `json` would keep the last one silently.
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a repeated name")
    return dict(pairs)


class _GradeForm(BaseModel):
    """`grade_schema` without the range of the score, as `out_of_range` is a reason of its own, and
    without the reason's length, which a grader that isn't constrained by the schema may exceed."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: AnyReason
    score: int


class _AxesForm(_GradeForm):
    """The same with a score on each of `AXES`."""

    alignment: int
    factual_care: int
    helpfulness: int
    refusal: int
