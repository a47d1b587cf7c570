"""Everything that is wrong or doubtful in a charter's file, at once, with its lines."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from vcjax.charter.doubts import doubts
from vcjax.charter.faults import CharterFaults, Fault, Place
from vcjax.charter.load import charter_file, read_charter
from vcjax.charter.schema import Charter
from vcjax.core.validation import describe_in, path_of
from vcjax.core.yaml_files import line_finder


@dataclass(frozen=True)
class Review:
    """What was found in a charter's file.

    Attributes:
      charter: None where it can't be used.
      problems: one line each, `FILE:LINE: FIELD: what is wrong`, in the order of the file.
    """

    charter: Charter | None
    problems: tuple[str, ...]


def review_charter(reference: str) -> Review:
    """Reads a charter as `load_charter` does, and reports all of its problems.

    Raises:
      UserError: the file is missing, isn't YAML or isn't a mapping.
    """
    data = read_charter(reference)
    charter, found = _validated(data)
    line = line_finder(charter_file(reference))
    placed = sorted((line(fault.place), number, fault) for number, fault in enumerate(found))
    return Review(charter, tuple(_problem(reference, at, fault) for at, _, fault in placed))


def _problem(reference: str, line: int, fault: Fault) -> str:
    field = f"{path_of(fault.place)}: " if fault.place else ""
    return f"{reference}:{line}: {field}{fault.message}"


def _validated(data: Mapping[str, Any]) -> tuple[Charter | None, list[Fault]]:
    """The charter with what is doubtful in it, or what keeps it from being one."""
    try:
        charter = Charter.model_validate(data)
        return charter, list(doubts(charter))
    except ValidationError as failure:
        found = list(_faults(failure))
        unknown = [each["loc"] for each in failure.errors() if each["type"] == "extra_forbidden"]
    if len(unknown) == len(found):
        # Whether the parts fit together is looked at only where each field is valid.
        found += _validated(_without(data, unknown))[1]
    return None, found


def _faults(failure: ValidationError) -> Iterator[Fault]:
    for error in failure.errors():
        raised = error.get("ctx", {}).get("error")
        if isinstance(raised, CharterFaults):
            yield from raised.faults
        else:
            yield Fault(error["loc"], describe_in(error, Charter))


def _without(value: Any, places: list[Place]) -> Any:
    """A copy without the fields at these places."""
    if isinstance(value, Mapping):
        gone = {place[0] for place in places if len(place) == 1}
        return {
            name: _without(each, [place[1:] for place in places if place[0] == name])
            for name, each in value.items()
            if name not in gone
        }
    if isinstance(value, list):
        return [
            _without(each, [place[1:] for place in places if place[0] == number])
            for number, each in enumerate(value)
        ]
    return value
