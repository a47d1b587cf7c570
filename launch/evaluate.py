"""Runs the benchmark on a model, judges its answers and writes a report.

python -m launch.evaluate --config=configs/evaluate.py --workdir=runs/evaluate
"""

import sys

from absl import flags

from vcjax.core.script import define_config, run
from vcjax.core.settings import build

CONFIG = define_config("configs/evaluate.py", "The config of the evaluation.")
WORKDIR = flags.DEFINE_string("workdir", None, "The run's workdir.", required=True)


def main() -> None:
    from vcjax.road.evaluate import EvaluationConfig, run_evaluation

    run_evaluation(build(EvaluationConfig, CONFIG.value.to_dict(), "config"), WORKDIR.value)
    print(f"{WORKDIR.value}/report.html", file=sys.stderr)


if __name__ == "__main__":
    run(main)
