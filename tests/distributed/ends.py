"""Trains as each scenario of a file says, one after the other, and writes how each one ended.

    python -m tests.distributed.ends SCENARIOS.json OUT

One of two processes. A scenario has a config and a workdir for each: the second process's may be
another one, where it finds nothing.
"""

import os
import sys

import jax

from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.files import read_json, write_json
from vcjax.train.config import TrainConfig
from vcjax.train.loop import train

if __name__ == "__main__":
    rank = int(os.environ["RANK"])
    jax.distributed.initialize(num_processes=2, process_id=rank)
    ends = []
    for scenario in read_json(sys.argv[1]):
        config = TrainConfig.from_dict(scenario["configs"][rank])
        try:
            summary = train(config, scenario["workdirs"][rank])
            ends.append({"steps": summary["steps"], "early": summary.get("stopped_early")})
        except (UserError, GateNotMet) as error:
            ends.append({type(error).__name__: str(error)})
    write_json(f"{sys.argv[2]}.{rank}.json", ends)
