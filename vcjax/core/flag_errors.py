"""Errors of flags and config files as one line: what is wrong, in the user's words, and the mend.

absl and ml_collections raise them for programmers: over several lines, without the path that the
user gave, or from within the look-up of a field.
"""

import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from vcjax.core.defaults import configs_folder
from vcjax.core.errors import suggest

CONFIGS = ("config", "gate")
"""Flags that name a config file."""

_IN_PLAIN_WORDS = (
    (
        re.compile(r"flag --\w+=None: Flag (--\w+) must have a value other than None\."),
        r"\1: is missing",
    ),
    (re.compile(r"invalid literal for int\(\) with base 10: .*"), "not a whole number"),
    (re.compile(r"could not convert string to float: .*"), "not a number"),
)
"""What absl and Python say of a flag's value, and what a user needs to know."""


def in_config(error: Exception) -> str | None:
    """A line about what a config file itself has raised: it is the user's own program."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {error.msg}"
    if "has no attribute 'get_config'" in str(error):
        return "--config: the file has no function get_config"
    last = traceback.extract_tb(error.__traceback__)[-1]
    files = (getattr(sys.modules.get(f"{name}_config"), "__file__", None) for name in CONFIGS)
    if last.filename not in files:
        return None
    return f"{last.filename}:{last.lineno}: {type(error).__name__}: {error}"


def similar_config(line: str) -> str:
    """A suggestion for the config file whose name an error quotes."""
    quoted = re.search(r"'([^']+)'", line)
    if quoted is None:
        return ""
    path = Path(quoted[1])
    beside = [str(each) for each in path.parent.glob("*.py")]
    shipped = [f"configs/{each.name}" for each in configs_folder().glob("[!_]*.py")]
    return suggest(str(path), [*beside, *shipped])


def similar_value(error: Exception) -> str:
    """A suggestion for a flag's value that is none of those that it may have."""
    listed = re.search(r"flag --\w+=(.*): value should be one of <(.+)>", str(error))
    return suggest(listed[1], listed[2].split("|")) if listed else ""


def without_variants(error: Exception, arguments: Sequence[str]) -> str | None:
    """A line about a variant of a config that has none, whose `get_config` takes no argument."""
    if "get_config() takes 0 positional arguments" not in str(error):
        return None
    paths = [path for _, _, path in (argument.partition("=") for argument in arguments)]
    named = next((path for path in [*paths, *arguments] if ".py:" in path), "")
    file, _, variant = named.partition(":")
    return f"--config: {file} has no variants; leave ':{variant}' out"


def unknown_field(error: Exception, arguments: list[str]) -> str:
    """One line from ml_collections' two, with the path that the user gave."""
    text = str(error.args[0])
    quoted = re.match(r"\W*(\w+)\\?'", text)  # it may be the repr of a repr
    field = quoted[1] if quoted else text.split()[-1].rpartition(".")[2]
    given = (argument.lstrip("-").partition("=")[0] for argument in arguments[1:])
    path = next((name for name in given if field in name.split(".")), field)
    for frame, _ in traceback.walk_tb(error.__traceback__):
        # Several may end alike, as config.model and config.cpt.model do: which one was looked for?
        path = f"config.{frame.f_locals['config_path']}" if _looks_up(frame) else path
    close = re.search(r'mean "([^"]+)"', text)
    return f"{path}: unknown field" + (f"; did you mean {close[1]!r}?" if close else "")


def _looks_up(frame: FrameType) -> bool:
    """Whether this is ml_collections' look-up of a field by its path."""
    return frame.f_code.co_name == "get_type" and "config_path" in frame.f_locals


def one_line(error: Exception) -> str:
    """What failed, which libraries put first, and why, which they put last."""
    lines = (str(error) or type(error).__name__).strip().splitlines()
    line = " ".join(line.strip() for line in dict.fromkeys((lines[0], lines[-1])))
    for pattern, plain in _IN_PLAIN_WORDS:
        line = pattern.sub(plain, line)
    return line
