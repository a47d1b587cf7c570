"""Two processes of four devices each train as one, and one process continues their run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compilation import with_devices
from tests.processes import coordinator
from vcjax.core.files import write_jsonl
from vcjax.data.records import Document

ROOT = Path(__file__).parents[2]
TEXT = "People disagree about borders, and they can say why. 一个人可以不同意，也可以说明理由。 "


def command(workdir: Path, model: Path, documents: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "launch.train", "--config=configs/cpt.py"),
        *(f"--workdir={workdir}", f"--config.model={model}", f"--config.documents={documents}"),
        *("--config.length=64", "--config.batch_size=8", "--config.lora.rank=0"),
        *("--config.checkpoint_every=2", "--config.warmup_steps=0", *more),
    ]


def environment(devices: int, **more: str) -> dict[str, str]:
    flags = with_devices(devices)
    return {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", **more}


def losses(workdir: Path) -> list[float]:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_two_processes_train_as_one_and_another_mesh_goes_on(tmp_path, tiny_folder):
    documents = tmp_path / "documents.jsonl"
    records = (Document(f"d{n}", TEXT * (n + 1), "en", "test") for n in range(12))
    write_jsonl(documents, [record.to_dict() for record in records])

    together = tmp_path / "together"
    mesh = ("--config.mesh.tensor=2", "--config.steps=2", "--distributed")
    with coordinator() as address:
        processes = [
            subprocess.Popen(
                command(together, tiny_folder, documents, *mesh),
                cwd=ROOT,
                env=environment(
                    4,
                    JAX_COORDINATOR_ADDRESS=address,
                    JAX_NUM_PROCESSES="2",
                    JAX_PROCESS_ID=str(index),
                ),
                stderr=subprocess.PIPE,
                text=True,
            )
            for index in range(2)
        ]
        for process in processes:
            _, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors

    alone = tmp_path / "alone"
    run = {"cwd": ROOT, "env": environment(1), "capture_output": True, "text": True}
    done = subprocess.run(command(alone, tiny_folder, documents, "--config.steps=2"), **run)
    assert done.returncode == 0, done.stderr
    assert losses(together) == pytest.approx(losses(alone), rel=1e-5)

    # One process with eight devices restores what two processes saved, on its own mesh.
    more = ("--config.mesh.tensor=2", "--config.steps=4")
    run["env"] = environment(8)
    done = subprocess.run(command(together, tiny_folder, documents, *more), **run)
    assert done.returncode == 0, done.stderr
    assert len(losses(together)) == 4
