"""Training runs that are killed, of more kinds and in more places than `tests/train` has them."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.compilation import with_devices
from tests.train.conftest import (
    adapted,
    conversations,
    documents,
    full,
    make_config,
    model_config,
    model_folder,
    params,
    preferring,
    settings,
    tokenizer,
)
from tests.train.runs import equal, losses
from tests.train.test_resuming import killed_run_ends_as_one_that_was_not
from vcjax.core.files import read_json
from vcjax.core.lineage import read_lineage, verify
from vcjax.core.stores import as_path, files_below
from vcjax.train import loop
from vcjax.train.checkpoints import Checkpoints
from vcjax.train.config import TrainConfig
from vcjax.train.loop import train
from vcjax.weights.load import load_model
from vcjax.weights.steps import saved_steps, unfinished_steps

# Fixtures.
__all__ = [
    "adapted",
    "conversations",
    "documents",
    "full",
    "make_config",
    "model_config",
    "model_folder",
    "params",
    "preferring",
    "settings",
    "tokenizer",
]


@pytest.mark.parametrize("whole", ["adapted", "preferring"])
def test_a_killed_run_ends_as_one_that_was_not(whole, request, tmp_path, make_config):
    reference = request.getfixturevalue(whole)
    killed_run_ends_as_one_that_was_not(reference, tmp_path, make_config)


_TWO_DEVICES = """
import sys
import jax
from vcjax.core.files import read_json
from vcjax.train.config import TrainConfig
from vcjax.train.loop import train

assert jax.device_count() == 2, jax.devices()
train(TrainConfig.from_dict(read_json(sys.argv[1] + "/config.json")), sys.argv[1])
"""


def test_a_run_goes_on_upon_another_mesh(full, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(full, workdir, ignore=shutil.ignore_patterns("6"))
    (workdir / "lineage.json").unlink()
    flags = {"XLA_FLAGS": with_devices(2), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", _TWO_DEVICES, str(workdir)]
    run = subprocess.run(command, env=os.environ | flags, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    np.testing.assert_allclose(losses(workdir), losses(full), rtol=1e-5)
    one, two = (load_model(str(path)).params for path in (full, workdir))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), one, two)


def _until_killed(config: dict, workdir: str, environment: dict, while_saving: bool) -> None:
    """Trains on, and dies with step 2 saved and step 3 done, or while step 4 is being saved."""
    os.environ.update(environment)
    complete = Checkpoints._complete

    class Killed(loop.Progress):
        def update(self, n: float | None = 1) -> bool | None:
            while self.n == 2 and saved_steps(as_path(workdir)) != [2]:
                time.sleep(0.05)  # the save goes on in the background
            if self.n == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().update(n)

    def killed(self: Checkpoints, step: int, folder: Path, final: Path) -> None:
        if step == 4:  # all arrays are there, and nothing says that they are
            os.kill(os.getpid(), signal.SIGKILL)
        complete(self, step, folder, final)

    if while_saving:
        Checkpoints._complete = killed
    else:
        loop.Progress = Killed
    train(TrainConfig.from_dict(config), workdir)


def test_a_run_in_a_bucket_that_is_killed_twice_ends_as_one_on_a_disk(
    full, checkpoint_store, make_config
):
    workdir, config = f"{checkpoint_store}/run", read_json(full / "config.json")
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    for while_saving, steps, unfinished in ((False, [2], []), (True, [2], ["4"])):
        child = processes.Process(
            target=_until_killed, args=(config, workdir, dict(os.environ), while_saving)
        )
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert saved_steps(as_path(workdir)) == steps
        assert [path.name for path in unfinished_steps(as_path(workdir))] == unfinished
        lines = (as_path(workdir) / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines][:2] == [1, 2]

    train(make_config(**config), workdir)
    equal(load_model(workdir).params, load_model(str(full)).params)
    assert losses(as_path(workdir)) == losses(full)
    assert not (Path(os.environ["VCJAX_CACHE"]) / "spools" / "run").exists()
    assert {finding.status for finding in verify(workdir)} <= {"ok", "absent"}
    recorded, there = read_lineage(workdir)["files"], files_below(as_path(workdir))
    events = [name for name in there if "tfevents" in name]
    assert events
    assert recorded.keys() == {*there} - {*events, "lineage.json"}


def test_a_finished_run_in_a_bucket_is_found_extended_and_refused(
    checkpoint_store, make_config, capsys
):
    workdir = f"{checkpoint_store}/run"
    train(make_config(steps=2), workdir)
    train(make_config(steps=2), workdir)
    assert f"{workdir}: already finished (2 steps)" in capsys.readouterr().out
    train(make_config(steps=3), workdir)
    assert saved_steps(as_path(workdir))[-1] == 3
    assert read_json(f"{workdir}/summary.json")["steps"] == 3
    assert load_model(f"{workdir}/checkpoints/3").origin.path == f"{workdir}/checkpoints/3"
