"""A workdir belongs to one config, and to one process at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.core.workdir import check_config, opened

CONFIG = {"model": "m", "steps": 10, "optimizer": {"rate": 0.1, "betas": (0.9, 0.95)}}


def _run(workdir, config, extendable=()):
    with opened(workdir, config, extendable) as folder:
        return read_json(folder / "config.json")


def test_the_config_is_recorded_and_the_same_one_reopens(tmp_path):
    first = _run(tmp_path / "new" / "run", CONFIG)
    assert first["optimizer"]["betas"] == [0.9, 0.95]
    assert _run(tmp_path / "new" / "run", CONFIG) == first


def test_another_config_is_refused_with_the_difference(tmp_path):
    _run(tmp_path, CONFIG)
    other = {**CONFIG, "optimizer": {"rate": 0.2, "betas": (0.9, 0.95)}, "seed": 1}
    with pytest.raises(UserError) as caught:
        _run(tmp_path, other)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}: holds a run of another config (")
    assert "optimizer.rate: 0.1 -> 0.2; seed: None -> 1" in message
    assert "betas" not in message
    assert "\n" not in message
    assert read_json(tmp_path / "config.json")["optimizer"]["rate"] == 0.1


def test_an_extendable_field_may_grow_but_not_shrink(tmp_path):
    _run(tmp_path, CONFIG, ("steps",))
    assert _run(tmp_path, {**CONFIG, "steps": 20}, ("steps",))["steps"] == 20
    with pytest.raises(UserError, match="steps: 20 -> 15"):
        _run(tmp_path, {**CONFIG, "steps": 15}, ("steps",))
    with pytest.raises(UserError, match="steps: 20 -> 30"):
        _run(tmp_path, {**CONFIG, "steps": 30})


def test_a_run_of_a_version_without_a_field_goes_on_with_the_value_that_changes_nothing(tmp_path):
    _run(tmp_path, CONFIG)
    added = {**CONFIG, "columns": "", "sft": {"tool_turns": "leave_out"}}
    assert _run(tmp_path, added)["columns"] == ""
    with pytest.raises(UserError, match=r"columns: '' -> 'text:body'"):
        _run(tmp_path, {**added, "columns": "text:body"})


def test_an_unused_folder_takes_any_config(tmp_path):
    check_config(tmp_path, CONFIG)
    assert not list(tmp_path.iterdir())


def test_a_second_run_is_kept_out_until_the_first_ends(tmp_path):
    script = (
        "import sys\n"
        "from vcjax.core.errors import UserError\n"
        "from vcjax.core.workdir import opened\n"
        "try:\n"
        "    with opened(sys.argv[1], {'steps': 1}): print('in')\n"
        "except UserError as error: print(error)\n"
    )

    def other_process() -> str:
        command = [sys.executable, "-c", script, str(tmp_path)]
        root = Path(__file__).parents[2]
        return subprocess.run(command, cwd=root, capture_output=True, text=True).stdout.strip()

    with opened(tmp_path, {"steps": 1}):
        assert other_process() == f"{tmp_path}: another run is using it"
    assert other_process() == "in"


def test_the_lock_is_released_by_an_exception(tmp_path):
    def fail() -> None:
        with opened(tmp_path, CONFIG):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    _run(tmp_path, CONFIG)


def test_a_file_is_no_workdir(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file; a workdir is a folder"):
        _run(tmp_path / "file", CONFIG)
