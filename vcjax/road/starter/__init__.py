"""The files that `launch.init` writes, and what writes them."""

import json
import shlex
from importlib.resources import files
from pathlib import Path
from string import Template

from vcjax.core.errors import UserError
from vcjax.core.files import check_writable, write_text

CONFIGS = ("demo", "sft", "adversarial", "evaluate")
_WHOLE = ("questions.jsonl", "benchmark.jsonl")
"""Written as they are; in the others `$folder` and the like are filled in."""


def write_starter(folder: Path, launch: str) -> None:
    """Writes a charter to edit, questions, configs that use them, and a README.

    Args:
      folder: one that doesn't exist or is empty.
      launch: how scripts are started, such as `python -m launch`.

    Raises:
      UserError: the folder has something in it, or can't be made.
    """
    check_writable(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder}: isn't empty; name a new folder")
    quoted = shlex.quote(str(folder))
    values = {
        "name": json.dumps(folder.resolve().name, ensure_ascii=False),
        "title": folder.resolve().name,
        "folder": quoted,
        "charter": shlex.quote(str(folder / "charter.yaml")),
        "launch": launch,
    }
    sources = files("vcjax.road.starter")
    # Not as a new folder in the place of an empty one: a shell may be in that.
    for name in ("charter.yaml", "README.md", *_WHOLE):
        text = (sources / name).read_text("utf-8")
        write_text(folder / name, text if name in _WHOLE else Template(text).substitute(values))
    for name in CONFIGS:
        text = (sources / "configs" / f"{name}.py.txt").read_text("utf-8")
        write_text(folder / "configs" / f"{name}.py", Template(text).substitute(values))
