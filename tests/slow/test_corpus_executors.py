"""A corpus made by a Slurm array and by a cluster of Ray: the same bytes as on this machine.

Slurm's part is taken by a script that runs the tasks of an array one after the other.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT
from tests.slow.test_killed_corpus import hashes, write_inputs
from vcjax.core.files import read_json

STEPS = "normalise,language,quality,duplicates"
SBATCH = """#!/bin/bash
for each in "$@"; do
  case $each in --export=*) export RUN_OFFSET=${each##*RUN_OFFSET=} ;; esac
done
cp "$each" "$SUBMITTED.$RANDOM"
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$each")
export SLURM_NODELIST=localhost
for task in $(seq 0 "$last"); do
  SLURM_ARRAY_TASK_ID=$task bash "$each" >&2 || failed=1
done
echo "Submitted batch job 7"
exit ${failed:-0}
"""


@pytest.fixture(scope="module")
def prepare(tmp_path_factory, tiny_folder):
    """Runs `launch.prepare` on the same inputs; returns what it did and its workdir."""
    folder = tmp_path_factory.mktemp("corpus")
    names = write_inputs(folder, megabytes=2, long=1)

    def run(executor: str, environment: dict[str, str], name: str = "", **values):
        workdir = folder / (name or executor) / "corpus"  # a card has the name of its folder
        settings = {
            "documents": names,
            "model": tiny_folder,
            "length": 512,
            "shard_mb": 1,
            "steps": STEPS,
            "executor": executor,
            **values,
        }
        command = [sys.executable, "-m", "launch.prepare", f"--workdir={workdir}"]
        command += [f"--config.{field}={value}" for field, value in settings.items()]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
        )
        return done, workdir

    return run


@pytest.fixture(scope="module")
def expected(prepare):
    done, workdir = prepare("local", {}, workers=1)
    assert done.returncode == 0, done.stderr
    assert len(read_json(workdir / "summary.json")["sources"]) == 2
    return hashes(workdir)


@pytest.fixture
def slurm(tmp_path):
    """What the environment adds where the stand-in's programs are found."""
    programs = {"sbatch": SBATCH, "scontrol": "#!/bin/bash\necho localhost\n"}
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    return {"PATH": path, "SUBMITTED": str(tmp_path / "submitted")}


def test_slurm_gives_the_same_bytes(prepare, slurm, expected):
    done, workdir = prepare("slurm", slurm)
    assert done.returncode == 0, done.stderr
    assert hashes(workdir) == expected
    submitted = sorted(Path(slurm["SUBMITTED"]).parent.glob("submitted.*"))
    assert len(submitted) == 2  # an array for each round
    assert all("#SBATCH --wait" in path.read_text() for path in submitted)


def test_a_mistake_that_a_task_finds_is_one_line(prepare, slurm, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "One."}\n{oops\n')
    done, _ = prepare(
        "slurm", slurm, "mistake", documents=tmp_path / "a.jsonl", on_bad_record="error"
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "a.jsonl" in done.stderr.splitlines()[-1]


def test_a_cluster_of_ray_with_two_workers_gives_the_same_bytes(prepare, expected):
    from ray.cluster_utils import Cluster

    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        cluster.add_node(**node)
        cluster.wait_for_nodes()
        done, workdir = prepare("ray", {"RAY_ADDRESS": cluster.address})
        assert done.returncode == 0, done.stderr
        assert hashes(workdir) == expected
    finally:
        cluster.shutdown()
