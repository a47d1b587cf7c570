"""Sharding: the same logits on every mesh, and the table of axes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from tests.compilation import with_devices
from vcjax.core.errors import UserError
from vcjax.parallel import AXES, make_mesh, sharding

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def report():
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": with_devices(8),
    }
    command = [sys.executable, "-m", "tests.model.eight_devices"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return {json.dumps(entry["mesh"]): entry for entry in json.loads(run.stdout)}


@pytest.mark.parametrize(
    ("mesh", "heads", "held"),
    [
        ({"fsdp": 8}, None, 1 / 8),
        ({"fsdp": 2, "tensor": 4}, "tensor", 1 / 8),
        ({"data": 2, "fsdp": 2, "tensor": 2}, "tensor", 1 / 4),
    ],
    ids=["fsdp=8", "fsdp=2,tensor=4", "data=2,fsdp=2,tensor=2"],
)
def test_logits_on_eight_devices_equal_those_on_one(mesh, heads, held, report):
    entry = report[json.dumps(mesh)]
    assert entry["devices"] == 8
    assert entry["difference"] < 5e-5
    assert entry["query_heads"] == heads
    assert entry["key_heads"] is None  # 3 heads are replicated, not an error
    assert entry["head_held"] == held


def _spec(sizes: tuple[int, int, int, int], axes: tuple[str, ...], shape: tuple[int, ...]):
    return sharding(AbstractMesh(sizes, AXES), axes, shape).spec


def test_a_mesh_axis_that_does_not_divide_is_left_out():
    axes = ("embed", "kv_heads", "head_dim")
    assert _spec((1, 2, 2, 1), axes, (576, 3, 64)) == PartitionSpec("fsdp", None, None)
    assert _spec((1, 2, 2, 1), axes, (576, 8, 64)) == PartitionSpec("fsdp", "tensor", None)
    assert _spec((1, 2, 2, 1), axes, (577, 8, 64)) == PartitionSpec(None, "tensor", None)


def test_no_mesh_axis_is_used_twice_in_one_tensor():
    assert _spec((1, 2, 2, 1), ("heads", "mlp"), (8, 8)) == PartitionSpec("tensor", None)


def test_an_axis_without_a_rule_is_a_fault_that_suggests_one():
    with pytest.raises(ValueError, match="'embd'; did you mean 'embed'"):
        _spec((1, 2, 2, 1), ("embd",), (8,))


def test_mesh_takes_what_is_left():
    assert make_mesh({"fsdp": -1}).shape["fsdp"] == jax.device_count()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"model": 2}, "mesh axis 'model' is not one of data, fsdp, tensor"),
        ({"fsdp": 7919}, "mesh data=1 x fsdp=7919 x tensor=1 x sequence=1 doesn't fit"),
        ({"fsdp": -1, "tensor": 7919}, "doesn't fit"),
        ({"fsdp": -1, "tensor": -1}, "doesn't fit"),
        ({"fsdp": 0}, "doesn't fit"),
    ],
)
def test_a_mesh_that_does_not_fit_is_one_line(sizes, message):
    with pytest.raises(UserError, match=message) as caught:
        make_mesh(sizes)
    assert "\n" not in str(caught.value)
