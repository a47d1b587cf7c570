"""Trains a model: continued pre-training, instruction tuning or adversarial training.

python -m launch.train --config=configs/sft.py --workdir=runs/sft
"""

import os
import sys

from absl import flags

from vcjax.core.commands import next_command
from vcjax.core.script import define_config, run

CONFIG = define_config(
    None,
    "The config of a stage: a file in configs/.",
    classes={"": "vcjax.train.config:TrainConfig"},
    example="configs/sft.py",
)
WORKDIR = flags.DEFINE_string("workdir", None, "The run's workdir.", required=True)
DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    False,
    "This is one of several processes that train together and share the workdir. TPU "
    "pods, Slurm and Kubernetes are recognised; elsewhere set JAX_COORDINATOR_ADDRESS, "
    "JAX_NUM_PROCESSES and JAX_PROCESS_ID.",
)
PROFILE = flags.DEFINE_bool(
    "profile", False, "Write a profiler trace of three steps to the workdir."
)
SHOW_ROWS = flags.DEFINE_integer(
    "show_rows",
    0,
    "Print the first rows of each data set before training, with the tokens trained on in green.",
    lower_bound=0,
)
flags.mark_flag_as_required("config")


def main() -> None:
    from vcjax.train.config import TrainConfig
    from vcjax.train.loop import train

    if DISTRIBUTED.value:
        _join()
    config = TrainConfig.from_dict(CONFIG.value)
    summary = train(config, WORKDIR.value, profile=PROFILE.value, show_rows=SHOW_ROWS.value)
    losses = f"loss {summary['first_loss']:.4f} -> {summary['last_loss']:.4f}"
    print(f"{WORKDIR.value}: {summary['steps']} steps, {losses}", file=sys.stderr)
    print(
        f"look at {WORKDIR.value}/metrics.jsonl; next: "
        + next_command(f"{__package__}.chat", f"--model={WORKDIR.value}"),
        file=sys.stderr,
    )


def _join() -> None:
    """Joins the other processes; must be called before JAX initialises its devices."""
    import jax

    from vcjax.parallel import check_host_name

    if os.environ.get("JAX_PLATFORMS") == "cpu":
        check_host_name()
    count, index = (os.environ.get(f"JAX_{name}") for name in ("NUM_PROCESSES", "PROCESS_ID"))
    if count is None:
        jax.distributed.initialize()
    else:
        jax.distributed.initialize(num_processes=int(count), process_id=int(index or 0))


if __name__ == "__main__":
    run(main)
