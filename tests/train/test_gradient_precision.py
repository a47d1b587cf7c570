"""Invariant 10: every parameter's gradient in bfloat16 is within 1 % of float32's."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.compilation import with_devices
from tests.train.gradient_precision import CASES, MESHES, errors

ROOT = Path(__file__).parents[2]
BOUND = 0.01


def check(title: str, found: Mapping[str, float]) -> None:
    """Prints the table, and holds it to the bound."""
    print(f"\n{title}: error of the gradient in bfloat16, of the norm in float32")
    for name, value in found.items():
        print(f"  {name:<32} {100 * value:5.2f} %")
    assert {name: value for name, value in found.items() if not value < BOUND} == {}


@pytest.mark.parametrize(("model", "objective"), CASES)
def test_gradients_in_bfloat16_are_those_of_float32(model, objective):
    check(f"{model}, {objective}", errors(model, objective))


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
