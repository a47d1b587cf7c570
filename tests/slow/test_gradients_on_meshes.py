"""Gradients in bfloat16 on meshes, held to float32's as `tests/train` holds those of one device."""

import json
import os
import subprocess
import sys

from tests.compilation import with_devices
from tests.processes import ROOT
from tests.train.gradient_precision import MESHES
from tests.train.test_gradient_precision import check


def test_gradients_in_bfloat16_on_meshes_are_those_of_float32():
    """Also: XLA's CPU backend aborts on sums over devices that `shard_map` asks for in bfloat16."""
    flags = {"XLA_FLAGS": with_devices(4), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.train.gradient_precision"]
    run = subprocess.run(
        command, cwd=ROOT, env=os.environ | flags, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert [(entry["mesh"], entry["objective"]) for entry in report] == list(MESHES)
    for entry in report:
        check(f"{entry['mesh']}, {entry['objective']}", entry["errors"])
