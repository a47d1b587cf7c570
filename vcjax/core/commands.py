"""The command that a user is told to run next, such that it runs in the shell where it is told."""

import shlex
import shutil
import sys
from pathlib import Path


def next_command(module: str, *arguments: str) -> str:
    """`PYTHON -m MODULE ARGUMENTS`, quoted for a shell."""
    return " ".join(shlex.quote(each) for each in (interpreter(), "-m", module, *arguments))


def interpreter() -> str:
    """The Python that runs, in as few words as name it from the current folder.

    `.venv/bin/python` where it lies below, `python` where the environment is activated, else its
    whole path.
    """
    running, here = Path(sys.executable), Path.cwd()
    if running.is_relative_to(here):
        return str(running.relative_to(here))
    found = shutil.which("python")
    # By their folders: those of two environments may be links to one file.
    if found and Path(found).parent == running.parent and running.samefile(found):
        return "python"
    return str(running)
