"""The registry of checks: named, deterministic functions of (question, answer, language)."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from vcjax.charter.messages import describe
from vcjax.core.errors import suggest
from vcjax.text.language import Language


@dataclass(frozen=True)
class CheckResult:
    """Whether an answer passed, and what was seen, for people."""

    passed: bool
    detail: str


@dataclass(frozen=True)
class Check:
    """A registered function and the pydantic model of its arguments after (question, answer, lang).

    An argument that holds a mapping is keyed by language.
    """

    function: Callable[..., CheckResult]
    arguments: type[BaseModel]


CHECKS: dict[str, Check] = {}


def check(name: str) -> Callable[[Callable[..., CheckResult]], Callable[..., CheckResult]]:
    """Registers `function(question, answer, lang, **args)` as a check; an empty answer fails it."""

    def register(function: Callable[..., CheckResult]) -> Callable[..., CheckResult]:
        @functools.wraps(function)
        def checked(question: str, answer: str, lang: Language, **args: Any) -> CheckResult:
            if not answer.strip():
                return CheckResult(False, "the answer is empty")
            return function(question, answer, lang, **args)

        extra = list(inspect.signature(function).parameters.values())[3:]
        fields: dict[str, Any] = {
            p.name: (p.annotation, ... if p.default is p.empty else p.default) for p in extra
        }
        # Strict: a quoted "0.6" or a `true` in the YAML is a mistake to report, not to convert.
        config = ConfigDict(extra="forbid", strict=True)
        CHECKS[name] = Check(checked, create_model(name, __config__=config, **fields))
        return checked

    return register


def validate_arguments(name: str, args: Mapping[str, Any]) -> None:
    """Checks `args` against the signature of the check called `name`.

    Raises:
      ValueError: unknown check, unknown or missing argument, or a value of the wrong type.
    """
    if name not in CHECKS:
        raise ValueError(f"unknown check {name!r}{suggest(name, CHECKS)}")
    arguments = CHECKS[name].arguments
    try:
        arguments.model_validate(dict(args))
    except ValidationError as failure:
        error = failure.errors()[0]
        argument = str(error["loc"][0])
        if error["type"] == "extra_forbidden":
            known = suggest(argument, arguments.model_fields)
            message = f"check {name!r} has no argument {argument!r}{known}"
        elif error["type"] == "missing":
            message = f"check {name!r} needs the argument {argument!r}"
        else:
            message = f"argument {argument!r} of check {name!r}: {describe(error)}"
        raise ValueError(message) from None
