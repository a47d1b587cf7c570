"""Runs the whole road: base model and charter in, aligned model, data, evidence and report out.

python -m launch.demo --workdir=runs/demo
"""

from typing import Any

from absl import flags

from vcjax.core.script import define_config, run

CONFIG = define_config("configs/demo.py", "The config of the road.")
WORKDIR = flags.DEFINE_string("workdir", "runs/demo", "The road's workdir.")


def main() -> None:
    from vcjax.road.demo import DemoConfig, run_demo

    summary = run_demo(DemoConfig.from_dict(CONFIG.value.to_dict()), WORKDIR.value)
    for line in _lines(summary):
        print(line)
    print(f"{WORKDIR.value}/report.html")


def _lines(summary: dict[str, Any]) -> list[str]:
    from vcjax.report.changes import comparison_readings

    kinds = ("attempts", "accepted", "rejected", "unscored", "blocked")
    lines = [
        f"{name:12} loss {stage['first_loss']:.3f} -> {stage['last_loss']:.3f}, "
        f"{stage['tokens']} tokens"
        for name, stage in summary["stages"].items()
    ]
    lines.append("synthesis    " + ", ".join(f"{summary['synthesis'][k]} {k}" for k in kinds))
    before, after = (summary["evaluation"][side] for side in ("before", "after"))
    read_as = comparison_readings(summary["evaluation"]["comparison"], after["confidence"])
    for lang in before["languages"]:
        scores = " -> ".join(_score(side["languages"][lang]) for side in (before, after))
        rates = " -> ".join(
            _rate(side["all_checks"]["languages"][lang]) for side in (before, after)
        )
        judge, checks = (read_as["languages", lang, name] for name in ("judge", "all_checks"))
        lines.append(f"{lang:12} judge {scores}: {judge}; all rule checks {rates}: {checks}")
    if summary["same_family"]:
        lines.append("The judge is of the judged model's family: its scores are no evidence.")
    return lines


def _score(cell: dict[str, Any]) -> str:
    from vcjax.stats.intervals import Interval

    return "unscored" if cell["mean"] is None else f"{Interval.of(cell, 'mean'):.2f}"


def _rate(cell: dict[str, Any]) -> str:
    from vcjax.stats.intervals import Interval

    return f"{Interval.of(cell, 'rate'):.0%}"


if __name__ == "__main__":
    run(main)
