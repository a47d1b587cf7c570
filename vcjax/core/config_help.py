"""The fields of a config, for `--help`: what each means, and its value.

The words are those of the docstrings of the config's classes, `Attributes:` sections as everywhere.
They are read from the source without importing it: a help text waits for no large library.
"""

import ast
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parents[1]
_WIDTH = 96
_ATTRIBUTE = re.compile(r"^( *)((?:\w+, )*\w+): ")
_CONSTANT = re.compile(r"`?\b((?:vcjax\.(?:\w+\.)+)?_?[A-Z][A-Z_]{2,})\b`?")
_FULL_NAME = re.compile(r"^vcjax(?:\.\w+)+$")


@dataclass(frozen=True)
class Field:
    """A field of a class of settings.

    Attributes:
      text: its description in the docstring of its class, '' where there is none.
      section: the class of its own fields, as `module:Class`, or ''.
    """

    name: str
    text: str
    section: str


@cache
def fields_of(source: str) -> tuple[Field, ...]:
    """The fields of a dataclass, those of its bases first. Args: `source` is `module:Class`."""
    module, _, name = source.partition(":")
    found = _find(module, name)
    if found is None:
        return ()
    module, node = found
    inherited = {
        field.name: field
        for base in node.bases
        if isinstance(base, ast.Name)
        for field in fields_of(f"{module}:{base.id}")
    }
    texts = _attributes(ast.get_docstring(node) or "", module)
    own = {}
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            field = each.target.id
            kind = each.annotation.id if isinstance(each.annotation, ast.Name) else ""
            section = f"{module}:{kind}" if kind and _find(module, kind) else ""
            known = inherited[field].text if field in inherited else ""
            own[field] = Field(field, texts.get(field, known), section)
    return tuple({**inherited, **own}.values())


def summary_of(source: str) -> str:
    """The docstring of a class without its attributes."""
    module, _, name = source.partition(":")
    found = _find(module, name)
    text = (ast.get_docstring(found[1]) or "") if found else ""
    return " ".join(text.partition("Attributes:")[0].split())


def config_lines(values: Mapping[str, Any], source: str, prefix: str = "config") -> Iterator[str]:
    """Yields the lines about a config's fields, in its order; sections after the other fields.

    Args:
      values: the config as it would be used.
      source: the class that it becomes, as `module:Class`.
    """
    fields = {field.name: field for field in fields_of(source)}
    sections = []
    for name, value in values.items():
        field = fields.get(name, Field(name, "", ""))
        if isinstance(value, Mapping):
            sections.append((name, value, field))
            continue
        yield f"  --{prefix}.{name}={value!r}"
        yield from _indented(field.text, 6)
    explained: dict[str, str] = {}
    for name, value, field in sections:
        yield ""
        about = field.text or (summary_of(field.section) if field.section else "")
        yield from textwrap.wrap(f"{prefix}.{name}: {about}", _WIDTH, subsequent_indent="  ")
        if field.section in explained:  # three stages of training have the same fields
            yield f"  The fields are those of {explained[field.section]}."
            for each, own in value.items():
                if not isinstance(own, Mapping):
                    yield f"  --{prefix}.{name}.{each}={own!r}"
            continue
        if field.section:
            explained[field.section] = f"{prefix}.{name}"
            if field.text and summary_of(field.section):
                yield from _indented(summary_of(field.section), 2)
        yield from config_lines(value, field.section, f"{prefix}.{name}")


def _indented(text: str, spaces: int) -> list[str]:
    indent = " " * spaces
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)


@cache
def _tree(module: str) -> ast.Module | None:
    path = _PACKAGE.joinpath(*module.split(".")[1:])
    files = (path.with_suffix(".py"), path / "__init__.py")
    file = next((each for each in files if each.is_file()), None)
    return None if file is None else ast.parse(file.read_text(encoding="utf-8"))


def _find(module: str, name: str) -> tuple[str, ast.ClassDef] | None:
    """The class that a name means in a module of ours, and the module that defines it."""
    if not name or (tree := _tree(module)) is None:
        return None
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom) and _FULL_NAME.match(node.module or ""):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _find(str(node.module), alias.name)
    return None


def _attributes(docstring: str, module: str) -> dict[str, str]:
    """The texts of an `Attributes:` section, by name; a text may be of several."""
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in docstring.partition("Attributes:\n")[2].splitlines():
        if (begun := _ATTRIBUTE.match(line)) and len(begun[1]) == 2:
            names = begun[2].split(", ")
            line = line[begun.end() :]
        elif not line.startswith("    "):
            names = []
        for name in names:
            texts[name] = f"{texts.get(name, '')} {line.strip()}".strip()
    return {
        name: _CONSTANT.sub(lambda found: _values(found, module), text)
        for name, text in texts.items()
    }


def _values(match: re.Match[str], module: str) -> str:
    """The values that a constant has, in the place of its name."""
    home, _, name = match[1].rpartition(".")
    found = _constant(home or module, name)
    return match[0] if found is None else ", ".join(str(each) or "''" for each in found)


def _constant(module: str, name: str) -> list[Any] | None:
    tree = _tree(module)
    for node in tree.body if tree else ():
        if isinstance(node, ast.ImportFrom) and _FULL_NAME.match(node.module or ""):
            if any(alias.name == name for alias in node.names):
                return _constant(str(node.module), name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            value = node.value
            items = value.keys if isinstance(value, ast.Dict) else getattr(value, "elts", ())
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                known = [each.value for each in items if isinstance(each, ast.Constant)]
                return known if known and len(known) == len(items) else None
    return None
