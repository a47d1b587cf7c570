"""Trains each scenario of a file, one after the other, and writes how each one ended.

    python -m tests.distributed.ends SCENARIOS.json OUT ARGUMENT...

One of two processes. A scenario has a config and a workdir for each process: the second process's
may be an empty folder of its own. The files that a process hashed are written with its results, and
those of checkpoints that it verified, by scenario.
Finally the process runs `launch.train` with the arguments.
"""

import os
import sys

import jax

import launch.train
from vcjax.core import hashes
from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.files import read_json, write_json
from vcjax.core.script import run
from vcjax.train.config import TrainConfig
from vcjax.train.loop import train
from vcjax.weights import steps

if __name__ == "__main__":
    rank = int(os.environ["RANK"])
    jax.distributed.initialize(num_processes=2, process_id=rank)
    hashed: list[str] = []
    hash_file = hashes.hash_file

    def noted(path: str | os.PathLike) -> str:
        hashed.append(str(path))
        return hash_file(path)

    def verifying(path: str | os.PathLike) -> str:
        verified[-1].append(str(path))
        return hash_file(path)

    hashes.hash_file = noted
    steps.hash_file = verifying
    ends: list[dict] = []
    verified: list[list[str]] = []
    for scenario in read_json(sys.argv[1]):
        config = TrainConfig.from_dict(scenario["configs"][rank])
        verified.append([])
        try:
            summary = train(config, scenario["workdirs"][rank])
            ends.append({"steps": summary["steps"], "early": summary.get("stopped_early")})
        except (UserError, GateNotMet) as error:
            ends.append({type(error).__name__: str(error)})
    write_json(f"{sys.argv[2]}.{rank}.json", {"ends": ends, "hashed": hashed, "verified": verified})
    sys.argv[1:] = sys.argv[3:]
    run(launch.train.main)
