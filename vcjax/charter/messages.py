"""Pydantic's errors in one line each, for a person who edits a YAML file."""

import reprlib

from pydantic_core import ErrorDetails


def describe(error: ErrorDetails) -> str:
    """Says what is wrong with a value, and shows the value, shortened."""
    if error["type"] == "value_error" and "ctx" in error:
        return str(error["ctx"]["error"])
    message = error["msg"].removeprefix("Input ").rstrip(".")
    mend = ""
    if error["type"] == "string_type" and isinstance(error["input"], int | float):
        mend = "; write it in quotes"
    return f"{message}, but it is {reprlib.repr(error['input'])}{mend}"
