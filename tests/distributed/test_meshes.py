"""Loss and gradient are those of one device on every sensible mesh of eight."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compilation import with_devices
from tests.distributed.gradients_on_meshes import MESHES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report() -> dict:
    flags = with_devices(8)
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-m", "tests.distributed.gradients_on_meshes"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("number", range(len(MESHES)), ids=[str(mesh) for mesh in MESHES])
def test_a_mesh_gives_the_loss_and_gradient_of_one_device(report, number):
    found, sizes = report["meshes"][number], MESHES[number]
    assert found["mesh"] == sizes
    assert report["largest"] > 0.01  # so that the bound below says something
    assert found["loss"] < 1e-6 * report["loss"]
    assert found["gradient"] < 1e-6
    assert found["held"] == 1 / (sizes.get("fsdp", 1) * sizes.get("tensor", 1))
