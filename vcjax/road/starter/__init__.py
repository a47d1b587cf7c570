"""The files that `launch.init` writes, and what writes them."""

import json
import shlex
from importlib.resources import files
from pathlib import Path
from string import Template

from vcjax.core.errors import UserError
from vcjax.core.files import check_writable, replaced_folder

CONFIGS = ("demo", "sft", "adversarial", "evaluate")
_VERBATIM = ("questions.jsonl", "benchmark.jsonl")
"""Written as they are; in the others `$folder` and the like are filled in."""
_WHOLE = ".starter"
"""Where the files are until all of them are written."""


def write_starter(folder: Path, launch: str) -> None:
    """Writes a charter to edit, questions, configs that use them, and a README.

    A kill at any moment leaves whole files or none; the same call then writes what is missing.

    Args:
      folder: one that doesn't exist, or has only hidden files.
      launch: how scripts are started, such as `python -m launch`.

    Raises:
      UserError: the folder has something in it, or can't be made.
    """
    check_writable(folder)
    whole = folder / _WHOLE
    if not whole.is_dir():
        if folder.is_dir() and any(not each.name.startswith(".") for each in folder.iterdir()):
            raise UserError(f"{folder}: isn't empty; name a new folder")
        with replaced_folder(whole) as made:
            _write(made, folder, launch)
    # Not as a new folder in the place of an empty one: a shell may be in that.
    for path in whole.iterdir():
        path.rename(folder / path.name)
    whole.rmdir()


def _write(made: Path, folder: Path, launch: str) -> None:
    """Writes the files to `made`, as those of `folder`."""
    values = {
        "name": json.dumps(folder.resolve().name, ensure_ascii=False),
        "title": folder.resolve().name,
        "folder": shlex.quote(str(folder)),
        "charter": shlex.quote(str(folder / "charter.yaml")),
        "launch": launch,
    }
    sources = files("vcjax.road.starter")
    for name in ("charter.yaml", "README.md", *_VERBATIM):
        text = (sources / name).read_text("utf-8")
        # Not `safe_substitute`: a placeholder without a value is our mistake, and must not reach a
        # user.
        text = text if name in _VERBATIM else Template(text).substitute(values)
        (made / name).write_text(text, "utf-8")
    (made / "configs").mkdir()
    for name in CONFIGS:
        text = (sources / "configs" / f"{name}.py.txt").read_text("utf-8")
        (made / "configs" / f"{name}.py").write_text(Template(text).substitute(values), "utf-8")
