"""Two processes, one SIGTERM: both save at the same step, and their checkpoint is complete."""

import os
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

from tests.processes import ROOT, coordinator, rest_of
from vcjax.core.files import write_json
from vcjax.core.lineage import read_lineage
from vcjax.train.checkpoints import Checkpoints
from vcjax.train.layout import Layout
from vcjax.weights.steps import saved_steps, step_folder
from vcjax.weights.workdir import write_sources

# Each process holds half of the weights; a step adds one to all of them.
_RUN = """
import os
from itertools import count
from pathlib import Path

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from vcjax.core.script import run
from vcjax.core.errors import Preempted
from vcjax.parallel import put, replicated
from vcjax.train.checkpoints import Checkpoints
from vcjax.train.stopping import stop_requests

def main():
    jax.distributed.initialize(num_processes=2, process_id=int(os.environ["RANK"]))
    mesh = jax.make_mesh((2,), ("fsdp",))
    halves = NamedSharding(mesh, PartitionSpec("fsdp"))
    weights = put(np.zeros((4, 8), np.float32), halves)
    advance = jax.jit(lambda tree: tree + 1, donate_argnums=0, out_shardings=halves)
    with Checkpoints(Path(os.environ["WORKDIR"]), 2) as saved, stop_requests() as requested:
        for step in count(1):
            weights = advance(weights)
            state = {"count": put(np.int32(step), replicated(mesh))}
            stop = requested()
            if stop or step % 5 == 0:
                saved.save(step, {"weights": weights}, state)
            print(step, flush=True)
            if stop:
                raise Preempted(f"stopped by SIGTERM at step {step}")

run(main)
"""


def test_both_of_two_processes_save_at_one_step_when_one_is_preempted(tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    write_json(workdir / "config.json", {"seed": 0})
    write_sources(workdir, [])
    with coordinator() as address:
        shared = {"WORKDIR": str(workdir), "JAX_COORDINATOR_ADDRESS": address}
        shared |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", _RUN],
                cwd=ROOT,
                env=os.environ | shared | {"RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(2)
        ]
        assert processes[1].stdout is not None
        while (line := processes[1].stdout.readline()) not in ("6\n", ""):
            pass
        processes[1].terminate()
        steps = []
        for process, taken in zip(processes, ("", line), strict=True):
            out, errors = rest_of(process)
            out = taken + out
            assert process.returncode == 128 + signal.SIGTERM, errors
            assert f"stopped by SIGTERM at step {out.split()[-1]}" in errors.splitlines()
            steps.append(int(out.split()[-1]))
    assert steps[0] == steps[1] == max(saved_steps(workdir))

    # One process reads what two have written, hashed and put under one lineage.
    names = read_lineage(step_folder(workdir, steps[0]))["files"]
    for rank in range(2):
        assert any(f"params/ocdbt.process_{rank}/d/" in name for name in names)
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    trainable = {"weights": jax.ShapeDtypeStruct((4, 8), jnp.float32, sharding=here)}
    state = {"count": jax.ShapeDtypeStruct((), jnp.int32, sharding=here)}
    with Checkpoints(workdir, 2) as saved:
        found = saved.restore_latest(Layout(None, None, trainable, {}, state))
    assert found is not None
    assert found[0] == found[2]["count"] == steps[0]
    np.testing.assert_array_equal(found[1]["weights"], np.full((4, 8), steps[0]))
