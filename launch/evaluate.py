"""Runs the benchmark on a model, judges its answers and writes a report.

python -m launch.evaluate --config=configs/evaluate.py --workdir=runs/evaluate

With `--gate=configs/gates/release.py:evaluation` the exit code is 3 where a bound is broken.
"""

import sys

from absl import flags

from vcjax.core.script import define_config, run
from vcjax.core.settings import build

CONFIG = define_config("configs/evaluate.py", "The config of the evaluation.")
GATE = define_config(None, "Bounds, as configs/gates/release.py:evaluation.", "gate")
WORKDIR = flags.DEFINE_string("workdir", None, "The run's workdir.", required=True)


def main() -> None:
    from vcjax.evaluation.gate import check_gate, evaluation_figures, read_bounds
    from vcjax.road.evaluate import EvaluationConfig, run_evaluation

    bounds = read_bounds(GATE.value.to_dict()) if GATE.value else []
    summary = run_evaluation(
        build(EvaluationConfig, CONFIG.value.to_dict(), "config"), WORKDIR.value
    )
    print(f"{WORKDIR.value}/report.html", file=sys.stderr)
    check_gate(bounds, {WORKDIR.value: evaluation_figures(summary)})


if __name__ == "__main__":
    run(main)
