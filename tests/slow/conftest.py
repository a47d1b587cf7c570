"""Programs of others that several slow tests need, each installed once."""

import subprocess
import sys
from pathlib import Path

import pytest

INSPECT = ("inspect_ai==0.3.285", "openai==3.57.0")


@pytest.fixture(scope="session")
def inspect(tmp_path_factory) -> Path:
    """The program `inspect`, in an environment of its own: it needs forty packages, of which some
    are older than ours."""
    folder = tmp_path_factory.mktemp("inspect")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *INSPECT], check=True, timeout=900)
    return folder / "bin" / "inspect"
