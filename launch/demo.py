"""The whole road: base model and charter in, aligned model, data, evidence and report out.

python -m launch.demo --workdir=runs/demo
"""

import sys

from absl import flags
from ml_collections import config_flags

from launch.guard import run
from vcjax.road.config import RoadConfig
from vcjax.road.run import drive

CONFIG = config_flags.DEFINE_config_file("config", "configs/demo.py", "The road's settings.")
WORKDIR = flags.DEFINE_string("workdir", "runs/demo", "Where everything is written.")


def main() -> None:
    summary = drive(RoadConfig.from_dict(CONFIG.value.to_dict()), WORKDIR.value)
    counts = {kind: summary["synthesis"][kind] for kind in ("attempts", "accepted", "rejected")}
    print(f"{WORKDIR.value}: {counts}; see {WORKDIR.value}/report.html", file=sys.stderr)


if __name__ == "__main__":
    run(main)
