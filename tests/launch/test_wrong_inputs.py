"""Every row of the table: exit code 2, one line, no traceback, and nothing left behind."""

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from tests.launch.wrong_files import write_files
from tests.launch.wrong_inputs import ROWS, SCRIPTS, USUAL
from tests.processes import launched
from tests.scripts import ran

SECONDS = 60
"""A script that takes longer than this hasn't seen its mistake."""


@pytest.fixture(scope="session")
def files(tmp_path_factory, tiny_folder) -> dict[str, str]:
    return write_files(tmp_path_factory.mktemp("wrong"), tiny_folder)


@pytest.fixture(autouse=True)
def no_hub(monkeypatch) -> None:
    """Nothing is asked of a hub: names that might be hub ids are looked up in an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.parametrize(("command", "says"), ROWS, ids=[row[0][:80] for row in ROWS])
def test_a_wrong_input_is_one_line(command, says, files, tmp_path, script_cache):
    script, *given = shlex.split(command)
    names = {**files, "out": str(tmp_path / "out")}
    with unchanged(Path(files["folder"]).parent, tmp_path), limited(SECONDS):
        code, out, error = ran(
            SCRIPTS.get(script, script), arguments(script, given, names), script_cache
        )
    assert code == 2, (code, out, error)
    (line,) = error.splitlines()
    assert line.startswith("error: ")
    assert says in line


def test_a_process_of_its_own_ends_in_the_same_way(files, tmp_path, script_cache):
    names = {**files, "out": str(tmp_path / "out")}
    given = arguments("convert", ["--src={cut_weights}"], names)
    code, out, error = launched("convert", given, script_cache)
    assert (code, out) == (2, "")
    assert error.startswith(f"error: {files['cut_weights']}/model.safetensors: truncated")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def arguments(script: str, given: list[str], names: dict[str, str]) -> list[str]:
    """The script's usual flags, those that are given in their place, and its operands."""
    flags = {name: f"--{name}={value}" for name, value in USUAL[script].items()}
    flags |= {each[2:].partition("=")[0]: each for each in given if each.startswith("--")}
    operands = [each for each in given if not each.startswith("--")]
    return [each.format(**names) for each in [*operands, *flags.values()]]


@contextmanager
def unchanged(*folders: Path) -> Iterator[None]:
    """What SQLite keeps beside a database that was only read doesn't count."""

    def there() -> dict[Path, int]:
        return {
            path: path.stat().st_size if path.is_file() else -1
            for folder in folders
            for path in folder.rglob("*")
            if not path.name.endswith(("-wal", "-shm"))
        }

    before = there()
    yield
    assert there() == before


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"it went on for {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
