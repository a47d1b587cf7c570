"""The engine's output on a mesh is that on one device, and it compiles once for each mesh."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.compilation import with_devices
from tests.distributed.engine_on_meshes import MESHES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report() -> dict:
    flags = with_devices(8)
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-m", "tests.distributed.engine_on_meshes"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("number", range(len(MESHES)), ids=[str(mesh) for mesh in MESHES])
def test_a_mesh_gives_the_tokens_of_one_device(report, number):
    found, sizes = report["meshes"][number], MESHES[number]
    assert found["tokens"] == report["alone"]["tokens"]
    for scores, expected in zip(found["logprobs"], report["alone"]["logprobs"], strict=True):
        np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert found["share"] == 1 / (sizes.get("tensor", 1) * sizes.get("fsdp", 1))
    assert found["planned"] == 1
    assert found["compiled"] == 1


def test_pages_give_the_same_with_half_of_the_heads_on_each_device(report):
    assert report["paged"]["tokens"] == report["alone"]["tokens"]
    assert report["paged"]["share"] == 1 / 2


def test_as_many_devices_share_a_model_as_its_holding_says(report):
    assert [one["devices"] for one in report["shared"]] == [1, 2]
    first, second = (one["tokens"] for one in report["shared"])
    assert first == second


def test_row_buckets_want_all_slots_on_one_device(report):
    assert report["refused"].startswith("row_buckets: not where the slots are sharded")
