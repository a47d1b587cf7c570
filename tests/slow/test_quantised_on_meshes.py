"""A quantised model with adapters on meshes of 8 virtual devices is what it is on one."""

import json
import os
import subprocess
import sys

import pytest

from tests.compilation import with_devices
from tests.processes import ROOT


@pytest.fixture(scope="module")
def report():
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": with_devices(8),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    command = [sys.executable, "-m", "tests.model.adapters_on_meshes"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_a_quantised_model_that_drops_inputs_is_the_same_on_every_mesh(report):
    for entry in report["meshes"]:
        assert entry["difference"] < 1e-5 * entry["loss"], entry
        assert entry["gradient"] < 1e-4, entry
    assert [entry["held"] for entry in report["meshes"]] == [1 / 8, 1 / 4]


def test_devices_exchange_codes_and_no_kernel(report):
    """Once forward and once backward; a tensor axis of 2 wants half of each kernel."""
    layer = report["layer"]
    for entry, share in zip(report["meshes"], (1, 2), strict=True):
        assert sum(entry["gathered"]["u8"]) == 2 * layer["codes"] / share
        # Floats are scales, norms and adapters: none of them is a quarter of the smallest kernel.
        assert max(entry["gathered"]["f32"]) < 0.25 * layer["smallest_kernel"] / share, entry
