"""Every optimiser on eight devices: the sharding of its state, and its offload to host memory."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.train.conftest import (
    conversations,
    documents,
    make_config,
    model_config,
    model_folder,
    params,
    settings,
    tokenizer,
)
from vcjax.core.files import write_json
from vcjax.parallel import make_mesh
from vcjax.train.checkpoints import Checkpoints
from vcjax.train.config import OPTIMIZERS
from vcjax.train.layout import make_layout, shard_params, sharding_of
from vcjax.train.optim import make_optimizer
from vcjax.weights.workdir import write_sources

# Fixtures.
__all__ = [
    "conversations",
    "documents",
    "make_config",
    "model_config",
    "model_folder",
    "params",
    "settings",
    "tokenizer",
]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report(tmp_path_factory, model_config, settings):
    folder = tmp_path_factory.mktemp("layout")
    # Wide enough for Adafactor to factor, with heads and key/value heads for the tensor axis.
    wide = dataclasses.replace(model_config, hidden_size=128, intermediate_size=160, head_dim=64)
    write_json(folder / "model.json", wide.to_hf("float32"))
    write_json(folder / "config.json", settings(batch_size=8, learning_rate=1e-2))
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        # Simplified, `a / b / c` may become `a / (b * c)` in one program and not in another:
        # without that, an update by parts is the whole update, bit for bit.
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8 --xla_disable_hlo_passes=algsimp",
    }
    command = [sys.executable, "-m", "tests.train.optimizers_on_meshes", str(folder)]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_eight_devices_update_as_one_does(report, name):
    assert report[name]["difference"] < 1e-5
    assert report[name]["lies_as_planned"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_moments_are_shared_out_as_the_parameters_are(report, name):
    assert report[name]["whole"] == []


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_moments_wait_in_the_hosts_memory_and_change_nothing(report, name):
    entry = report[name]
    assert entry["kinds"] == ["device", "pinned_host"]
    assert entry["on_device"] == []
    assert entry["kept_in_place"]
    assert entry["offload_difference"] == 0.0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_checkpoint_comes_back_to_where_its_state_was_held(
    tmp_path, model_config, params, make_config, name
):
    config = make_config(optimizer=name, offload=True)
    optimizer = make_optimizer(config)
    layout = make_layout(model_config, config, optimizer, make_mesh({"fsdp": -1}))
    trainable = shard_params(params, layout.trainable)
    state = jax.jit(optimizer.init, out_shardings=sharding_of(layout.optimizer))(trainable)
    write_json(tmp_path / "config.json", config.to_dict())
    write_sources(tmp_path, [])
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(1, trainable, state)
        checkpoints.wait()
        found = checkpoints.restore_latest(layout)
    assert found is not None
    assert jax.tree.structure(found[2]) == jax.tree.structure(state)
    assert sharding_of(found[2]) == sharding_of(layout.optimizer)
    jax.tree.map(np.testing.assert_array_equal, found[2], state)
