"""Reads a charter by its shipped name or from a YAML file; every mistake is one line."""

from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vcjax.charter.messages import describe
from vcjax.charter.schema import Charter
from vcjax.foundation.errors import UserError, suggest

SHIPPED = ("universal", "vcllm", "verifiable")
_FOLDER = Path(__file__).parent / "shipped"


class _UniqueKeys(yaml.SafeLoader):
    """PyYAML's safe loader, which by itself lets a repeated key replace the first one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f"the key {key.value!r} is there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def load_charter(reference: str) -> Charter:
    """Loads a shipped charter (`universal`, `vcllm`, `verifiable`) or the YAML file at a path.

    Raises:
      UserError: the file is missing, isn't YAML or isn't a charter; names file and field or line.
    """
    reference = str(reference)
    data = _parse(reference, _read(reference))
    if not isinstance(data, dict):
        found = "an empty file" if data is None else f"a {type(data).__name__}"
        raise UserError(f"{reference}: a charter is a mapping of fields, but this is {found}")
    try:
        return Charter.model_validate(data)
    except ValidationError as failure:
        # An unknown field comes first: it explains the field that is missing beside it.
        errors = sorted(failure.errors(), key=lambda error: error["type"] != "extra_forbidden")
        raise UserError(f"{reference}: {_explain(errors[0])}") from None


def charter_file(reference: str) -> Path:
    """The file that a charter's name or path stands for."""
    return _FOLDER / f"{reference}.yaml" if reference in SHIPPED else Path(reference)


def _read(reference: str) -> str:
    path = charter_file(reference)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if path.suffix or len(path.parts) > 1:
            raise UserError(f"{reference}: no such file") from None
        raise UserError(
            f"charter {reference!r}: neither a file nor a shipped charter "
            f"({', '.join(SHIPPED)}){suggest(reference, SHIPPED)}"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{reference}: not UTF-8 ({error.reason} at byte {error.start})") from None
    except OSError as error:
        raise UserError(f"{reference}: can't be read ({error.strerror})") from None


def _parse(reference: str, text: str) -> Any:
    try:
        return yaml.load(text, Loader=_UniqueKeys)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise UserError(f"{reference}{line}: not YAML ({error.problem or error.context})") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(f"{reference}:{line}: not YAML ({error.reason})") from None
    except ValueError as error:  # PyYAML's, for a date such as 2026-13-01
        raise UserError(f"{reference}: not YAML ({error})") from None


def _explain(error: ErrorDetails) -> str:
    """One line: the path of the field, what is wrong, the mend."""
    location = error["loc"]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    path = path.removeprefix(".")
    if error["type"] == "extra_forbidden":
        hint = suggest(str(location[-1]), _fields_at(location[:-1]))
        return f"{path}: unknown field{hint}"
    if error["type"] == "missing":
        return f"{path}: this field is required"
    return f"{path}: {describe(error)}" if path else describe(error)


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the model that stands at `location` in a charter."""
    model: type[BaseModel] = Charter
    for part in location:
        if isinstance(part, str):
            model = _model_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as `tuple[Domain, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
