"""`launch/slurm.sh` and `launch/jobset.sh`, with stand-ins for what they submit to."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.processes import ROOT
from tests.slices import program

TRAIN = ("--", "launch.train", "--config=configs/sft.py:8b", "--workdir=gs://bucket/run")
JOBSET = ("sft", "--image=registry/vcjax:1", "--resource=google.com/tpu=4")

SBATCH = """#!/usr/bin/env bash
printf '%s\\n' "$@" >"$CLUSTER/options"
cat >"$CLUSTER/job"
SLURM_JOB_ID=7 SLURM_RESTART_COUNT=${RESTARTED:-0} bash "$CLUSTER/job"
"""
SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
for index in 0 1; do SLURM_PROCID=$index "$@"; done
"""


@pytest.fixture
def ran(tmp_path):
    """A function that runs a script of `launch/` where the cluster's programs are stand-ins."""
    programs = {"sbatch": SBATCH, "srun": SRUN, "kubectl": "#!/bin/sh\ncat >$CLUSTER/applied\n"}
    programs["scontrol"] = '#!/bin/sh\necho "$@" >$CLUSTER/requeued\n'
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        program(tmp_path / "bin" / name, text)

    def run(script: str, *arguments: str, **more: str) -> subprocess.CompletedProcess:
        path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            [str(ROOT / "launch" / f"{script}.sh"), *arguments],
            cwd=tmp_path,
            env=os.environ | {"PATH": path, "CLUSTER": str(tmp_path), **more},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture
def python(tmp_path) -> Path:
    """In the place of Python: writes what it was asked to run, and ends with $CODE."""
    lines = '#!/usr/bin/env bash\necho "$SLURM_PROCID $PWD $*" >>"$CLUSTER/seen"\nexit "$CODE"\n'
    return program(tmp_path / "python", lines)


def test_a_job_runs_the_command_in_every_process(ran, python, tmp_path):
    asked = ("--nodes=2", "--gpus=4", f"--python={python}", "--partition=gpu", "--time=8:00:00")
    ended = ran("slurm", *asked, *TRAIN, "--config.model=a b", CODE="0")
    assert ended.returncode == 0, ended.stderr
    options = (tmp_path / "options").read_text().splitlines()
    wanted = {"--nodes=2", "--gpus-per-node=4", "--ntasks-per-node=4", "--requeue"}
    assert {*wanted, "--partition=gpu", "--time=8:00:00"} <= set(options)
    command = "-m launch.train --distributed --config=configs/sft.py:8b --workdir=gs://bucket/run"
    expected = [f"{index} {ROOT} {command} --config.model=a b" for index in range(2)]
    assert (tmp_path / "seen").read_text().splitlines() == expected
    assert not (tmp_path / "requeued").exists()


@pytest.mark.parametrize(
    ("code", "restarted", "again"), [(143, 0, True), (143, 20, False), (2, 0, False)]
)
def test_a_job_that_a_signal_ended_is_queued_again(ran, python, tmp_path, code, restarted, again):
    given = {"CODE": str(code), "RESTARTED": str(restarted)}
    ended = ran("slurm", f"--python={python}", *TRAIN, **given)
    assert ended.returncode == code
    assert (tmp_path / "requeued").exists() == again
    if again:
        assert (tmp_path / "requeued").read_text() == "requeue 7\n"


def test_a_dry_run_prints_the_job_that_would_be_submitted(ran, python, tmp_path):
    dry = ran("slurm", "--dry_run", f"--python={python}", *TRAIN)
    assert (dry.returncode, dry.stderr) == (0, "")
    assert not (tmp_path / "job").exists()
    submitted, _, rest = dry.stdout.partition(" <<'END'\n")
    ran("slurm", f"--python={python}", *TRAIN, CODE="0")
    assert shlex.split(submitted) == ["sbatch", *(tmp_path / "options").read_text().splitlines()]
    assert rest == (tmp_path / "job").read_text() + "END\n"


def test_a_relative_python_is_that_of_the_folder_it_was_named_in(ran, python, tmp_path):
    ended = ran("slurm", f"--python={python.name}", *TRAIN, CODE="0")
    assert ended.returncode == 0, ended.stderr


def test_a_relative_workdir_is_that_of_the_folder_it_was_named_in(ran, python, tmp_path):
    command = ("--", "launch.train", "--config=configs/sft.py:8b", "--workdir=runs/my run")
    ended = ran("slurm", f"--python={python}", *command, CODE="0")
    assert ended.returncode == 0, ended.stderr
    seen = (tmp_path / "seen").read_text().splitlines()
    assert [line.partition(" --workdir=")[2] for line in seen] == [f"{tmp_path}/runs/my run"] * 2


def test_a_jobset_starts_every_host_with_its_index(ran, tmp_path):
    asked = ("--hosts=16", "--select=cloud.google.com/gke-tpu-topology=8x8")
    fields = '--config.columns=question:"ask",answer:\\reply\nand\ta\\nother\r'
    ended = ran("jobset", *JOBSET, *asked, *TRAIN, fields)
    assert ended.returncode == 0, ended.stderr
    applied = (tmp_path / "applied").read_text()
    assert ran("jobset", *JOBSET, "--dry_run", *asked, *TRAIN, fields).stdout == applied
    job = yaml.safe_load(applied)["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert (job["completions"], job["parallelism"]) == (16, 16)
    pod = job["template"]["spec"]
    assert pod["nodeSelector"] == {"cloud.google.com/gke-tpu-topology": "8x8"}
    (container,) = pod["containers"]
    assert container["command"] == ["python", "-m", "vcjax.launch.train"]
    assert container["args"] == ["--distributed", *TRAIN[2:], fields]
    assert container["resources"] == {"limits": {"google.com/tpu": 4}}
    values = {each["name"]: each.get("value") for each in container["env"]}
    # The name of the first pod, as JobSet gives it, which its service resolves.
    assert values["JAX_COORDINATOR_ADDRESS"] == "sft-hosts-0-0.sft:55527"
    assert values["JAX_NUM_PROCESSES"] == "16"
    assert "job-completion-index" in json.dumps(container["env"][2])


MISTAKES = {
    "'Run' is no name of a JobSet": ("jobset", "Run", *JOBSET[1:], *TRAIN),
    "--image: name": ("jobset", "sft", JOBSET[2], *TRAIN),
    "--resource: name": ("jobset", *JOBSET[:2], *TRAIN),
    "only launch.train runs": ("jobset", *JOBSET, "--", "launch.demo"),
    "unknown option -N2": ("slurm", "-N2", *TRAIN),
    "'two' is no number": ("slurm", "--nodes=two", *TRAIN),
    "nowhere is no program": ("slurm", "--python=nowhere", *TRAIN),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_one_line(ran, tmp_path, message):
    ended = ran(*MISTAKES[message])
    assert ended.returncode == 2
    assert message in ended.stderr
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1
    assert not list(tmp_path.glob("applied")) + list(tmp_path.glob("job"))


@pytest.mark.parametrize("script", ["pod", "slurm", "jobset"])
def test_the_help_of_a_script_is_its_head_and_no_more(ran, script):
    done = ran(script, "--help")
    assert done.returncode == 0
    assert f"  launch/{script}.sh " in done.stdout
    assert "shellcheck" not in done.stdout
