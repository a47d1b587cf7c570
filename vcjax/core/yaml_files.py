"""Reads the YAML that people write strictly; every error names the file and the line."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from vcjax.core.errors import UserError


class _UniqueKeys(yaml.SafeLoader):
    """PyYAML's safe loader, which by itself lets a repeated key replace the first one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in keys:
                problem = f"the key {key.value!r} is there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            keys.add(str(key.value))
        return super().construct_mapping(node, deep)


def read_mapping(path: Path, reference: str, what: str) -> dict[str, Any]:
    """The mapping in a YAML file.

    Args:
      reference: what the user called the file, for errors.
      what: what the file contains, e.g. `a charter`, for errors.

    Raises:
      UserError: the file can't be read, isn't YAML or contains something else.
    """
    data = _parse(reference, _read(path, reference))
    if not isinstance(data, dict):
        found = "an empty file" if data is None else f"a {type(data).__name__}"
        raise UserError(f"{reference}: {what} is a mapping of fields, but this is {found}")
    return data


def _read(path: Path, reference: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{reference}: no such file") from None
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


def line_finder(path: Path) -> Callable[[Sequence[str | int]], int]:
    """A function from a location in a YAML file to its line, counted from 1.

    A location is the names of fields and the indices in lists that lead to a value. Of one that
    isn't in the file, the line is that of the last part that is.

    Args:
      path: of a file that `read_mapping` can read.
    """
    # Composed and not loaded: nodes still know their lines, which loaded values have lost.
    root = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)

    def line(location: Sequence[str | int]) -> int:
        node, mark = root, root.start_mark
        for part in location:
            if isinstance(node, yaml.MappingNode):
                found = next(((key, value) for key, value in node.value if key.value == part), None)
                if found is None:
                    break
                mark, node = found[0].start_mark, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
                node = node.value[part]
                mark = node.start_mark
            else:
                break
        return mark.line + 1

    return line
