"""What a user is told to run next runs, wherever the interpreter is."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

TELL = """
from vcjax.core.commands import next_command
print(next_command("json.tool", "--help", "a b"))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """The folder of an environment with an interpreter, as `python -m venv` would make it."""
    folder = tmp_path_factory.mktemp("project") / ".venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("python", "python3"):
        (folder / name).symlink_to(os.path.realpath(sys.executable))
    return folder


def printed(python: Path, folder: Path, path: str) -> str:
    """The command as a process of that interpreter names it; it is run there, too."""
    settings = {"cwd": folder, "env": {"PATH": path, "PYTHONPATH": str(ROOT)}, "text": True}
    command = subprocess.run(
        [python, "-c", TELL], **settings, check=True, capture_output=True
    ).stdout.strip()
    ended = subprocess.run(["/bin/sh", "-c", command], **settings, capture_output=True)
    assert ended.returncode == 0, ended.stderr
    assert "usage" in ended.stdout
    return command


def test_an_interpreter_below_the_current_folder_is_named_from_there(environment):
    project = environment.parents[1]
    rest = " -m json.tool --help 'a b'"
    assert printed(environment / "python3", project, os.defpath) == ".venv/bin/python3" + rest


def test_the_interpreter_of_an_activated_environment_is_python(environment, tmp_path):
    path = f"{environment}{os.pathsep}{os.defpath}"
    assert printed(environment / "python3", tmp_path, path).startswith("python -m ")


def test_another_interpreter_is_named_by_its_whole_path(environment, tmp_path):
    # What `python` would start is a link to the same file, of another environment.
    other = tmp_path / "bin"
    other.mkdir()
    (other / "python").symlink_to(os.path.realpath(sys.executable))
    command = printed(environment / "python", tmp_path, str(other))
    assert shlex.split(command)[0] == str(environment / "python")
