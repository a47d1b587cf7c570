"""Pydantic's errors in one line each, for a person who edits a YAML or JSON file."""

import reprlib
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vcjax.core.errors import suggest


def explain(failure: ValidationError, model: type[BaseModel]) -> str:
    """One line for the first mistake: the path of the field, what is wrong, and what to write.

    An unknown field comes first: it explains the field that is missing beside it.
    """
    # Pydantic lists a missing field before the misspelled one that is the cause of it.
    error = min(failure.errors(), key=lambda error: error["type"] != "extra_forbidden")
    path = path_of(error["loc"])
    return f"{path}: {describe_in(error, model)}" if path else describe_in(error, model)


def path_of(location: Sequence[str | int]) -> str:
    """How a person names a location in a file: `domains[0].name`."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.removeprefix(".")


def describe_in(error: ErrorDetails, model: type[BaseModel]) -> str:
    """What is wrong with a field of a model."""
    location = error["loc"]
    if error["type"] == "extra_forbidden":
        return f"unknown field{suggest(str(location[-1]), _fields_at(location[:-1], model))}"
    return "this field is required" if error["type"] == "missing" else describe(error)


def describe(error: ErrorDetails) -> str:
    """What is wrong with a value, followed by the value, shortened."""
    if error["type"] == "value_error" and "ctx" in error:
        return str(error["ctx"]["error"])
    message = error["msg"].removeprefix("Input ").rstrip(".")
    hint = ""
    if error["type"] == "string_type" and isinstance(error["input"], int | float):
        hint = "; write it in quotes"
    return f"{message}, but it is {reprlib.repr(error['input'])}{hint}"


def _fields_at(location: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """Names of the fields of the model at `location` in `model`."""
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as `tuple[Domain, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
