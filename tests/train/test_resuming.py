"""A run that was interrupted gives the same result as an uninterrupted one."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.train.runs import equal, losses
from vcjax.core.files import read_json, write_json
from vcjax.train.logging import read_metrics
from vcjax.train.loop import train
from vcjax.weights.load import load_model
from vcjax.weights.steps import saved_steps

# Signals itself when step 3 is in the metrics: after the checkpoint of step 2, before that of 4.
_SIGNALLED = """
import os, signal, sys
from vcjax.core.files import read_json
from vcjax.train import loop
from vcjax.train.config import TrainConfig

class Bar(loop.Progress):
    def update(self, n=1):
        if self.n == 2:
            os.kill(os.getpid(), int(sys.argv[3]))
        return super().update(n)

loop.Progress = Bar
loop.train(TrainConfig.from_dict(read_json(sys.argv[1])), sys.argv[2])
"""


def signalled(reference: Path, folder: Path, number: int) -> subprocess.CompletedProcess:
    """Starts the run of a finished workdir anew, in `folder/run`, up to the signal."""
    write_json(folder / "config.json", read_json(reference / "config.json"))
    arguments = str(folder / "config.json"), str(folder / "run"), str(int(number))
    command = [sys.executable, "-c", _SIGNALLED, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def killed_run_ends_as_one_that_was_not(reference: Path, folder: Path, make_config) -> None:
    """Kills a run of the reference's config in `folder`, continues it and compares both."""
    workdir = folder / "run"
    killed = signalled(reference, folder, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(losses(workdir)) == 3
    # What a kill in the middle of a line leaves, and steps that no checkpoint holds.
    with (workdir / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 4, "lo')
    train(make_config(**read_json(reference / "config.json")), workdir)
    lines = read_metrics(workdir)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert losses(workdir) == losses(reference)
    equal(load_model(str(workdir)).params, load_model(str(reference)).params)


def test_a_killed_run_ends_as_one_that_was_not(full, tmp_path, make_config):
    killed_run_ends_as_one_that_was_not(full, tmp_path, make_config)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_asked_to_end_saves_its_step_and_goes_on_from_there(
    full, tmp_path, make_config, number
):
    asked = signalled(full, tmp_path, number)
    assert asked.returncode == 1
    assert "Preempted" in asked.stderr
    assert f"stopped by {number.name} at step 4; the same command continues" in asked.stderr
    assert saved_steps(tmp_path / "run")[-1] == 4
    train(make_config(**read_json(full / "config.json")), tmp_path / "run")
    assert losses(tmp_path / "run") == losses(full)
    equal(load_model(str(tmp_path / "run")).params, load_model(str(full)).params)
