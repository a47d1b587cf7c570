"""Gradients on meshes and in bfloat16, held to those of one device and of float32."""

import json
import os
import subprocess
import sys

import pytest

from tests.compilation import with_devices
from tests.distributed.gradients_on_meshes import MESHES
from tests.processes import ROOT
from tests.train import gradient_precision
from tests.train.test_gradient_precision import QUICK, check

OTHERS = [case for case in gradient_precision.CASES if case not in QUICK]


def printed_by(module: str, devices: int):
    """The JSON that a module of the tests prints when it runs on so many virtual devices."""
    run = subprocess.run(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": with_devices(devices)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def report() -> dict:
    return printed_by("tests.distributed.gradients_on_meshes", devices=8)


@pytest.mark.parametrize("number", range(len(MESHES)), ids=[str(mesh) for mesh in MESHES])
def test_a_mesh_gives_the_loss_and_gradient_of_one_device(report, number):
    found, sizes = report["meshes"][number], MESHES[number]
    assert found["mesh"] == sizes
    assert report["largest"] > 0.01  # so that the bound below says something
    assert found["loss"] < 1e-6 * report["loss"]
    assert found["gradient"] < 1e-6
    assert found["held"] == 1 / (sizes.get("fsdp", 1) * sizes.get("tensor", 1))


@pytest.mark.parametrize(("model", "objective"), OTHERS)
def test_gradients_in_bfloat16_are_those_of_float32(model, objective):
    check(f"{model}, {objective}", gradient_precision.errors(model, objective))


def test_gradients_in_bfloat16_on_meshes_are_those_of_float32():
    """Also: XLA's CPU backend aborts on sums over devices that `shard_map` asks for in bfloat16."""
    report = printed_by("tests.train.gradient_precision", devices=4)
    found = [(entry["mesh"], entry["objective"]) for entry in report]
    assert found == list(gradient_precision.MESHES)
    for entry in report:
        check(f"{entry['mesh']}, {entry['objective']}", entry["errors"])
