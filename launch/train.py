"""Trains a model: continued pre-training, instruction tuning or adversarial training.

python -m launch.train --config=configs/sft.py --workdir=runs/sft
"""

import sys

from absl import flags
from ml_collections import config_flags

from launch.guard import run
from vcjax.train.config import TrainConfig
from vcjax.train.run import train

CONFIG = config_flags.DEFINE_config_file("config", None, "The stage: a file in configs/.")
WORKDIR = flags.DEFINE_string("workdir", None, "The run's folder.", required=True)
flags.mark_flag_as_required("config")


def main() -> None:
    summary = train(TrainConfig.from_dict(CONFIG.value), WORKDIR.value)
    losses = f"loss {summary['first_loss']:.4f} -> {summary['last_loss']:.4f}"
    print(f"{WORKDIR.value}: {summary['steps']} steps, {losses}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
