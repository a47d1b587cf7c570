"""What the reference says of a public name is more than the name: its docstring, which is read."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

PAGES = sorted((ROOT / "docs/reference/python").glob("*.md"))
TASKS = ROOT / "vcjax/evaluation/facts/tasks"
FILLERS = {"a", "an", "and", "by", "in", "its", "of", "the", "this", "that", "to"}
ERRORS = ("BadRecord", "UserError", "ValueError")


def _modules() -> list[Path]:
    """The files of the modules that the reference documents."""
    names = [
        name
        for page in PAGES
        for name in re.findall(r"(?:py:module|automodule):: (\S+)", page.read_text("utf-8"))
    ]
    files = [name.replace(".", "/") + ".py" for name in names]
    return [ROOT / file if (ROOT / file).is_file() else TASKS / file for file in files]


def _public(
    tree: ast.Module | ast.ClassDef, of: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Functions and classes without a leading underscore, and those of the classes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield of + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from _public(node, f"{node.name}.")


def _words(text: str) -> set[str]:
    apart = re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower()
    return {word.rstrip("s") for word in re.findall(r"[a-z]+", apart)} - FILLERS


def _faults(path: Path) -> Iterator[str]:
    for name, node in _public(ast.parse(path.read_text("utf-8"))):
        text = ast.get_docstring(node) or ""
        where = f"{path.name}: {name}"
        if not _words(text) - _words(name):
            yield f"{where}: no docstring that says more than its name"
        elif not re.search(r"[.:`)\]}]$", text):
            yield f"{where}: no whole sentence"
        if isinstance(node, ast.FunctionDef):
            raised = {
                each.exc.func.id
                for each in ast.walk(node)
                if isinstance(each, ast.Raise)
                and isinstance(each.exc, ast.Call)
                and isinstance(each.exc.func, ast.Name)
                and each.exc.func.id in ERRORS
            }
            yield from (f"{where}: raises {error}, unsaid" for error in raised if error not in text)


@pytest.mark.parametrize("path", _modules(), ids=lambda path: path.stem)
def test_what_is_public_is_explained(path):
    assert not list(_faults(path))
