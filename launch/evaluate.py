"""Runs the benchmark on a model, judges its answers and writes a report.

python -m launch.evaluate --config=configs/evaluate.py --workdir=runs/evaluate

With `--gate=configs/gates/release.py:evaluation` the exit code is 3 where a bound is broken.

With `--inspect_log` it also writes `inspect.eval`, a log that `inspect view --log-dir=WORKDIR` and
`inspect_ai.log.read_eval_log` open, and that `launch.compare --runs` takes as well. An evaluation
that has finished without it gets it by the same command, and nothing is asked again.
"""

import sys

from absl import flags

from vcjax.core.commands import next_command
from vcjax.core.script import aligned, define_config, run
from vcjax.core.settings import build

CONFIG = define_config(
    "configs/evaluate.py",
    "The config of the evaluation.",
    classes={"": "vcjax.road.evaluate:EvaluationConfig"},
)
GATE = define_config(None, "Bounds, as configs/gates/release.py:evaluation.", "gate")
INSPECT_LOG = flags.DEFINE_bool("inspect_log", False, "Also write inspect.eval, Inspect's format.")
WORKDIR = flags.DEFINE_string("workdir", None, "The run's workdir.", required=True)


def main() -> None:
    from vcjax.evaluation.gate import check_gate, evaluation_figures, read_bounds
    from vcjax.report.reports import evaluation_rows
    from vcjax.road.evaluate import EvaluationConfig, run_evaluation

    bounds = read_bounds(GATE.value.to_dict()) if GATE.value else []
    summary = run_evaluation(
        build(EvaluationConfig, CONFIG.value.to_dict(), "config"),
        WORKDIR.value,
        inspect_log=INSPECT_LOG.value,
    )
    print("\n".join(aligned(evaluation_rows(summary))))
    for problem in summary.get("problems", ()):
        print(f"  {problem}")
    print(
        f"look at {WORKDIR.value}/report.html; next: "
        + next_command(f"{__package__}.compare", f"--runs={WORKDIR.value},OTHER", "--workdir=DIR"),
        file=sys.stderr,
    )
    check_gate(bounds, {WORKDIR.value: evaluation_figures(summary)})


if __name__ == "__main__":
    run(main)
