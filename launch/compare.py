"""Compares finished evaluations question by question; the first run is the baseline.

python -m launch.compare --runs=runs/before,runs/after --workdir=runs/compare

A run is a workdir of `launch.evaluate`, or a log of another tool, known by its content: Inspect's
.eval or JSON, lm-eval's samples_*.jsonl or their folder, promptfoo's results as JSON (FILE#PROVIDER
where it has several), PyRIT's exported conversations.

python -m launch.compare --runs=a.eval,b.eval --metric=match --workdir=runs/compare

`--domain_field` and `--language_field` name the fields of a log that have a sample's domain and its
language.

Leaves `comparison.json`, `report.html` and `lineage.json`; the report is in Chinese with
`--language=zh`. Intervals count questions of one domain
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
DOMAIN_FIELD = flags.DEFINE_string("domain_field", "", "Of logs: what has a sample's domain.")
LANGUAGE_FIELD = flags.DEFINE_string("language_field", "", "Of logs: what has a sample's language.")
PARALLEL_FIELD = flags.DEFINE_string("parallel_field", "", "Of logs: what translations share.")
SCALE = flags.DEFINE_list("scale", [], "Of logs: the ends of the scale of scores, as LOW,HIGH.")
LANGUAGE = flags.DEFINE_string("language", "en", "Of the report: en or zh.")
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
        domain_field=DOMAIN_FIELD.value,
        language_field=LANGUAGE_FIELD.value,
        parallel_field=PARALLEL_FIELD.value,
        scale=tuple(SCALE.value),
        confidence=CONFIDENCE.value,
        language=LANGUAGE.value,
        seed=SEED.value,
    )
    bounds = read_bounds(GATE.value.to_dict()) if GATE.value else []
    comparison = run_comparison(config, WORKDIR.value)
    for line in comparison_lines(comparison):
        print(line)
    # Not the shipped file by itself: its bounds are on both languages and on rule checks.
    following = "" if bounds else "; next: --gate=FILE with bounds, as configs/gates/release.py"
    print(f"look at {WORKDIR.value}/report.html{following}", file=sys.stderr)
    check_gate(bounds, comparison_figures(comparison))


if __name__ == "__main__":
    run(main)
