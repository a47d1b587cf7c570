"""Compares finished evaluations question by question; the first run is the baseline.

python -m launch.compare --runs=runs/before,runs/after --workdir=runs/compare

A run is a workdir of `launch.evaluate`, or a log of another tool, known by its content: Inspect's
.eval or JSON, lm-eval's samples_*.jsonl or their folder, promptfoo's results as JSON (FILE#PROVIDER
where it has several), PyRIT's exported conversations.

python -m launch.compare --runs=a.eval,b.eval --metric=match --domain=topic --workdir=runs/compare

Leaves `comparison.json`, `report.html` and `lineage.json`. Intervals count questions of one domain
as alike; what is called higher or lower is so after Holm's correction. With `--charter` its rule
checks are run anew on the answers of all runs.

`--judge_errors=FILE` has how often the judge was right about answers that people labelled, as
`{"threshold": 4, "sensitivity": {"k": 45, "n": 50}, "specificity": {"k": 40, "n": 50}}`: the true
difference of the rates of positive answers then has an interval that carries these errors.

With `--gate=configs/gates/release.py` the exit code is 3 where a bound is broken.
"""

import sys

from absl import flags

from vcjax.core.script import define_config, run

GATE = define_config(None, "Bounds on the differences, as configs/gates/release.py.", "gate")
RUNS = flags.DEFINE_list("runs", None, "Finished runs, the baseline first.", required=True)
NAMES = flags.DEFINE_list("names", [], "What the report calls the runs.")
WORKDIR = flags.DEFINE_string("workdir", None, "The comparison's workdir.", required=True)
CHARTER = flags.DEFINE_string("charter", "", "Whose rule checks are run anew on all answers.")
JUDGE_ERRORS = flags.DEFINE_string("judge_errors", "", "JSON: the judge's measured errors.")
METRIC = flags.DEFINE_string("metric", "", "Of logs: the score that is compared.")
DOMAIN = flags.DEFINE_string("domain", "", "Of logs: the field that has a sample's domain.")
LANGUAGE = flags.DEFINE_string("language", "", "Of logs: the field that has a sample's language.")
PARALLEL = flags.DEFINE_string("parallel", "", "Of logs: the field that translations share.")
SCALE = flags.DEFINE_list("scale", [], "Of logs: the ends of the scale of scores, as LOW,HIGH.")
CONFIDENCE = flags.DEFINE_float("confidence", 0.95, "Of the intervals and of the whole report.")
SEED = flags.DEFINE_integer("seed", 0, "Of the intervals' draws.")


def main() -> None:
    from vcjax.evaluation.gate import check_gate, comparison_figures, read_bounds
    from vcjax.report.comparison import comparison_lines
    from vcjax.road.compare import ComparisonConfig, run_comparison

    config = ComparisonConfig(
        runs=tuple(RUNS.value),
        names=tuple(NAMES.value),
        charter=CHARTER.value,
        judge_errors=JUDGE_ERRORS.value,
        metric=METRIC.value,
        domain=DOMAIN.value,
        language=LANGUAGE.value,
        parallel=PARALLEL.value,
        scale=tuple(SCALE.value),
        confidence=CONFIDENCE.value,
        seed=SEED.value,
    )
    bounds = read_bounds(GATE.value.to_dict()) if GATE.value else []
    comparison = run_comparison(config, WORKDIR.value)
    for line in comparison_lines(comparison):
        print(line)
    print(f"{WORKDIR.value}/report.html", file=sys.stderr)
    check_gate(bounds, comparison_figures(comparison))


if __name__ == "__main__":
    run(main)
