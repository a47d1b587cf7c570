"""A fresh Debian 13 with its Python 3.13: the tests with the pinned packages, and with the newest.

A part of the tests: a file of each folder, and those that have failed there; with the newest also
what a release of JAX reaches first. Debian takes two minutes; each of the two takes about two and a
half to install and two to run on two quiet cores, the newest about four more (by their CPU time).
The pinned ones are installed by the RUN lines of `.devcontainer/Dockerfile`, which no container
engine runs here.
"""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.processes import ROOT
from tests.slow.debian import Debian

PART = (
    "adversarial/test_pipeline.py",
    "adversarial/attacks/test_style.py",
    "adversarial/critic/test_panel.py",
    "adversarial/ledger/test_durability.py",
    "adversarial/ledger/test_ledger.py",
    "adversarial/ledger/test_versions.py",
    "adversarial/pressure/test_suite.py",
    "adversarial/rejudging/test_agreement.py",
    "benchmarks/test_results.py",
    "charter/test_load.py",
    "core/test_files.py",
    "data/corpus/test_personal.py",
    "data/test_preparation.py",
    "distributed/test_joining.py",
    "docs/test_commands.py",
    "evaluation/test_run.py",
    "evaluation/capability/test_caching.py",
    "evaluation/claims/test_passages.py",
    "evaluation/comparison/test_differences.py",
    "evaluation/facts/test_fact.py",
    "evaluation/judging/test_panel.py",
    "evaluation/measures/test_consistency.py",
    "evaluation/options/test_rows.py",
    "generate/test_constraints.py",
    "generate/test_detokenizer.py",
    "generate/test_engine.py",
    "generate/test_one_request.py",
    "launch/test_chat.py",
    "model/test_llama.py",
    "model/attention/test_packed.py",
    "plan/test_plan.py",
    "report/pressure/test_change.py",
    "report/test_reports.py",
    "review/test_session.py",
    "road/demo/test_config.py",
    "road/test_compare.py",
    "roles/test_endpoint.py",
    "serve/test_chat.py",
    "serve/test_server.py",
    "stats/test_intervals.py",
    "text/test_odd_templates.py",
    "text/test_rendered_content.py",
    "text/test_rendering.py",
    "train/test_step.py",
    "weights/test_round_trips.py",
    "weights/gguf/test_conventions.py",
    "test_parallel.py",
)
NEAR_JAX = (
    "data",
    "generate",
    "model",
    "weights",
    "slow/test_two_processes.py",
    "slow/test_killed_training.py",
    "slow/test_optimizers_on_meshes.py",
    "train/test_adapters.py",
    "train/test_checkpoints.py",
    "train/test_gradient_precision.py",
    "train/test_optim.py",
    "train/test_layout.py",
    "train/test_preference_losses.py",
)
"""Folders and files that a release of JAX, Flax, Orbax, Grain or NumPy reaches first."""
OF_THEIR_OWN = {"external", "parity", "site", "slow", "tpu"}
"""Folders that `make test` leaves out, or skips without outside data."""


@pytest.fixture(scope="module")
def debian(tmp_path_factory) -> Iterator[Debian]:
    folder: Path = tmp_path_factory.mktemp("debian")
    yield Debian(folder, "trixie")
    shutil.rmtree(folder)  # gigabytes, which pytest would keep for three runs


def _assert_green(debian: Debian, python: str, names: Sequence[str]) -> None:
    files = " ".join(f"tests/{name}" for name in names)
    result = debian.run(f"{python} -m pytest {files} -n 2 --dist loadfile")
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-1000:]


def test_the_container_s_steps_make_the_pinned_packages_green_on_a_fresh_debian(debian):
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # that of Debian's image
    for step, text in dockerfile_steps():
        if step == "ENV":
            path = f"{text.removeprefix('PATH=').removesuffix('$PATH')}{path}"
            continue
        command = f"cp -r {text}" if step == "COPY" else text
        done = debian.run(f"export PATH={path}; {command}")
        assert done.returncode == 0, (command, done.stderr[-2000:])
    created = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    done = debian.run(f"export PATH={path}; {created['postCreateCommand']}")
    assert done.returncode == 0, done.stderr[-2000:]
    _assert_green(debian, "/opt/vcjax/bin/python", PART)


def dockerfile_steps() -> list[tuple[str, str]]:
    """The instructions of the container's Dockerfile that change its files or its environment."""
    text = (ROOT / ".devcontainer" / "Dockerfile").read_text()
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    steps = [line.partition(" ") for line in lines if line.strip()]
    known = [(step, rest.strip()) for step, _, rest in steps]
    assert {step for step, _ in known} == {"FROM", "RUN", "COPY", "ENV"}
    return [(step, rest) for step, rest in known if step != "FROM"]


def test_the_newest_packages_are_green_on_a_fresh_debian(debian):
    install = "python3 -m venv /newest; /newest/bin/python -m pip install --quiet '.[eval,test]'"
    installed = debian.run(install)
    assert installed.returncode == 0, installed.stderr[-2000:]
    _assert_green(debian, "/newest/bin/python", PART + NEAR_JAX)
