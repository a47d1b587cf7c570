"""Two hosts train together through `launch/pod.sh`; one is preempted, and the run loses nothing."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.compilation import with_devices
from tests.processes import coordinator
from tests.slices import Slice
from tests.slow.test_two_processes import TEXT
from tests.train.runs import equal, losses
from vcjax.core.files import write_jsonl
from vcjax.data.records import Document
from vcjax.weights.load import load_model
from vcjax.weights.steps import saved_steps

STEPS, EVERY = 60, 5


def command(workdir: Path, model: Path, documents: Path) -> list[str]:
    return [
        *("--grace=20", f"--python={sys.executable}", "--", "launch.train"),
        *("--config=configs/cpt.py", f"--workdir={workdir}", f"--config.model={model}"),
        *(f"--config.documents={documents}", "--config.length=64", "--config.lora.rank=0"),
        *(f"--config.steps={STEPS}", f"--config.checkpoint_every={EVERY}"),
    ]


@pytest.fixture
def slices(tmp_path):
    """A function that makes a slice of two hosts with two devices each."""
    with coordinator() as address:

        def make(name: str) -> Slice:
            return Slice(
                tmp_path / name,
                hosts=2,
                JAX_COORDINATOR_ADDRESS=address,
                JAX_PLATFORMS="cpu",
                XLA_FLAGS=with_devices(2),
                VCJAX_CACHE=str(tmp_path / "cache"),
            )

        yield make


def test_a_preempted_host_comes_back_and_the_run_ends_as_one_undisturbed(
    slices, tmp_path, tiny_folder
):
    documents = tmp_path / "documents.jsonl"
    records = (Document(f"d{n}", TEXT * (n + 1), "en", "test") for n in range(12))
    write_jsonl(documents, [record.to_dict() for record in records])
    quiet, disturbed = tmp_path / "quiet", tmp_path / "disturbed"

    first = slices("first")
    process = first.pod(*command(quiet, tiny_folder, documents))
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error + first.log(0) + first.log(1)
    assert error.count("start ") == 1

    second = slices("second")
    process = second.pod(*command(disturbed, tiny_folder, documents))
    assert process.stderr is not None
    while not saved_steps(disturbed):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    # Preempted: its process dies, and the machine that comes back in its place is empty.
    second.become("PREEMPTED")
    os.kill(int((second.folder / "1" / "vcjax.pid").read_text()), signal.SIGKILL)
    shutil.rmtree(second.folder / "1")
    told = []
    while not told or "waiting until it is READY" not in told[-1]:
        line = process.stderr.readline()
        assert line, told
        told.append(line)
    assert max(saved_steps(disturbed)) < STEPS, "the host was lost too late"
    second.become("READY")
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, [*told, error, second.log(0), second.log(1)]
    assert "start 2 on 2 host(s)" in error

    assert losses(disturbed) == losses(quiet)
    equal(load_model(str(disturbed)).params, load_model(str(quiet)).params)
