"""How `make docs` reads the package's docstrings, which are text for people, as reStructuredText.

Sections (`Args:`, `Raises:`) are read by napoleon, which is called here: as an extension it would
take what comes before a colon in the first line of a property's docstring for its type. A name in
backticks links to where it is documented, if it is on a page of the site.
"""

import inspect
import re
import typing
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.util.inspect import stringify_signature

_NAME = re.compile(r"(?<![:`])`([A-Za-z_][\w.]*)`(?!`)")
_FIELDS = re.compile(r"^( +)(\w+(?:, \w+)+)(: .*)$")
_ARRAY = "jaxlib._jax.Array"
_SECTIONS = Config(
    napoleon_attr_annotations=False,  # the signature has the types
    napoleon_use_ivar=True,
    napoleon_use_rtype=False,
)


def readable(what: str, text: list[str]) -> list[str]:
    """The lines of a docstring as reStructuredText; `what` is autodoc's kind of the object."""
    lines = _literal_drawings(text) if what == "module" else _fields_apart(text)
    text = [_NAME.sub(r":py:obj:`\1`", line) for line in lines]
    return GoogleDocstring(text, _SECTIONS).lines()


def _literal_drawings(text: list[str]) -> Iterator[str]:
    """What is indented in a module's docstring (a drawing, commands) is shown as it stands."""
    drawing = False
    for before, line in zip(["", *text], text, strict=False):
        indented = line.startswith("  ")
        if indented and not drawing and not before.strip():
            yield from ("::", "")
        drawing = indented or (drawing and not line.strip())
        yield line


def _fields_apart(text: list[str]) -> Iterator[str]:
    """Fields that are explained together, `low, high: the bounds`, one by one.

    Napoleon does so for arguments, but takes the names of attributes for one name.
    """
    lines, inside = [*text, ""], False
    for start, line in enumerate(lines):
        inside = line == "Attributes:" or (inside and (line.startswith(" ") or not line))
        if inside and (field := _FIELDS.match(line)):
            rest = takewhile(lambda each: each.startswith(f"{field[1]}  "), lines[start + 1 :])
            explained = f"{field[3]} {' '.join(each.strip() for each in rest)}".rstrip()
            *others, last = field[2].split(", ")
            yield from (f"{field[1]}{name}{explained}" for name in others)
            yield f"{field[1]}{last}{field[3]}"
        else:
            yield line


def plain_signature(of: Callable) -> str:
    """A signature with the types of its arguments, without the bounds that pydantic reads there."""
    hints = typing.get_type_hints(of)
    signature = inspect.signature(of)
    arguments = [
        each.replace(annotation=hints.get(name, each.annotation))
        for name, each in signature.parameters.items()
    ]
    plain = signature.replace(parameters=arguments, return_annotation=inspect.Signature.empty)
    return stringify_signature(plain, unqualified_typehints=True)


def _process_docstring(
    _app: Sphinx, what: str, _name: str, _of: Any, _options: Any, lines: list[str]
) -> None:
    lines[:] = readable(what, lines)


def _process_signature(
    _app: Sphinx, _what: str, _name: str, of: Callable, _options: Any, arguments: str, returns: str
) -> tuple[str | None, str | None]:
    if arguments and "Annotated[" in arguments:
        arguments = plain_signature(of)
    short = [part and part.replace(_ARRAY, "Array") for part in (arguments, returns)]
    return short[0], short[1]


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", _process_docstring)
    app.connect("autodoc-process-signature", _process_signature)
    return {"parallel_read_safe": True, "version": "1"}
