"""Two processes train to one workdir in a bucket, as one process does on a disk."""

import subprocess
from pathlib import Path

import pytest

from tests.processes import ROOT, coordinator
from tests.slow.test_two_processes import TEXT, command, environment
from vcjax.core.files import read_jsonl, write_jsonl
from vcjax.core.lineage import verify
from vcjax.core.stores import as_path
from vcjax.data.records import Document
from vcjax.weights.steps import saved_steps


def losses(workdir: str | Path) -> list[float]:
    return [line["loss"] for _, line in read_jsonl(as_path(workdir) / "metrics.jsonl")]


def test_two_processes_train_to_one_bucket_as_one_trains_to_a_disk(
    checkpoint_store, tiny_folder, tmp_path
):
    documents = tmp_path / "documents.jsonl"
    records = (Document(f"d{n}", TEXT * (n + 1), "en", "test") for n in range(12))
    write_jsonl(documents, [record.to_dict() for record in records])
    workdir = f"{checkpoint_store}/run"

    def together(steps: int) -> None:
        arguments = [f"--config.steps={steps}", "--config.mesh.tensor=2", "--distributed"]
        with coordinator() as address:
            given = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
            processes = [
                subprocess.Popen(
                    command(workdir, tiny_folder, documents, *arguments),
                    cwd=ROOT,
                    env=environment(2, **given, JAX_PROCESS_ID=str(rank)),
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for rank in range(2)
            ]
            errors = [process.communicate(timeout=300)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], errors

    together(2)
    together(4)
    alone = tmp_path / "alone"
    for steps in (2, 4):  # extended likewise, as the learning rate depends on the number of steps
        done = subprocess.run(
            command(alone, tiny_folder, documents, f"--config.steps={steps}"),
            cwd=ROOT,
            env=environment(1),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert losses(workdir) == pytest.approx(losses(alone), rel=1e-5)
    assert saved_steps(as_path(workdir)) == saved_steps(alone)
    assert {finding.status for finding in verify(workdir)} <= {"ok", "absent"}
