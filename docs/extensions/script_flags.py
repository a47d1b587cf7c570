"""The directive `script-flags`: what each script in launch/ says of itself, and its flags.

Scripts are read, not run: every `flags.DEFINE_...` names its flag, default and help.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

LAUNCH = Path(__file__).parents[2] / "launch"


def lines() -> Iterator[str]:
    """The Markdown of all scripts: a heading, the first sentences of the docstring, the flags."""
    for path in sorted(LAUNCH.glob("[a-z]*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield from (f"### {path.stem}", "", (ast.get_docstring(tree) or "").split("\n\n")[0], "")
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            yield from _flag(call)


def _flag(call: ast.Call) -> Iterator[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    arguments = [_value(argument) for argument in call.args]
    named = {each.arg: _value(each.value) for each in call.keywords}
    if name == "define_config":
        flag = arguments[2] if len(arguments) > 2 else "config"
        default, text = arguments[0], arguments[1]
    elif name.startswith("DEFINE_"):
        flag, default, text = arguments[0], arguments[1], arguments[-1]
    else:
        return
    needed = "Required." if named.get("required") else ""
    shown = "" if default in (None, "", [], False) else f"Default: `{default}`."
    yield f"`--{flag}`"
    yield f": {' '.join(part for part in (str(text), shown, needed) if part)}"
    yield ""


def _value(node: ast.expr) -> Any:
    """A literal's value; of anything else, its source."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


class ScriptFlags(SphinxDirective):
    """See the head of this file."""

    def run(self) -> list[nodes.Node]:
        container = nodes.section()
        container.document = self.state.document
        self.state.nested_parse(
            StringList(list(lines()), "launch"), 0, container, match_titles=True
        )
        return container.children


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("script-flags", ScriptFlags)
    return {"parallel_read_safe": True, "version": "1"}
