"""Trains several arms of an ablation and asks each the same held-out queries.

python -m launch.ablate --config=configs/ablate.py --workdir=runs/ablate
python -m launch.ablate --config=configs/pressure.py --workdir=runs/pressure
python -m launch.ablate --config=configs/stages.py --workdir=runs/stages

The arms of the config add, remove or replace stages, data and the Critic. The result is one table
(`table.md`), one plot (`report.html`) and `summary.json`. The same command continues a run that
was stopped; more seeds or arms extend a finished one.
"""

from typing import Any

from absl import flags

from vcjax.core.script import define_config, run

CONFIG = define_config(
    "configs/ablate.py",
    "The config with the arms and settings.",
    classes={
        "facts": "vcjax.road.pressure.config:PressureConfig",
        "cpt": "vcjax.road.stages.config:StagesConfig",
        "": "vcjax.road.ablation.config:AblationConfig",
    },
)
WORKDIR = flags.DEFINE_string("workdir", None, "The ablation's workdir.", required=True)


def main() -> None:
    if "facts" in CONFIG.value:
        _measure_pressure()
        return
    if "cpt" in CONFIG.value:
        _ablate_stages()
        return
    from vcjax.road.ablation.config import AblationConfig
    from vcjax.road.ablation.run import ablate

    summary = ablate(AblationConfig.from_dict(CONFIG.value.to_dict()), WORKDIR.value)
    for line in _lines(summary):
        print(line)
    print(f"look at {WORKDIR.value}/report.html and table.md; more arms or seeds extend the run")


def _measure_pressure() -> None:
    from vcjax.report.pressure.verdict import verdict_lines
    from vcjax.road.pressure.config import PressureConfig
    from vcjax.road.pressure.run import measure_pressure

    config = PressureConfig.from_dict(CONFIG.value.to_dict())
    for line in verdict_lines(measure_pressure(config, WORKDIR.value)):
        print(line)
    print(f"look at {WORKDIR.value}/report.html and table.md; more arms or seeds extend the run")


def _ablate_stages() -> None:
    from vcjax.report.stages.verdict import stages_lines
    from vcjax.road.stages.config import StagesConfig
    from vcjax.road.stages.run import ablate_stages

    config = StagesConfig.from_dict(CONFIG.value.to_dict())
    for line in stages_lines(ablate_stages(config, WORKDIR.value)):
        print(line)
    print(f"look at {WORKDIR.value}/report.html and table.md; more arms or seeds extend the run")


_GROUPS = ("held_out", "clean")


def _lines(summary: dict[str, Any]) -> list[str]:
    rule = summary["any_rule"]
    lines = []
    for name, arm in summary["arms"].items():
        attacked, plain = (_range(arm["broken"][group][rule], "rate") for group in _GROUPS)
        lines.append(f"{name:24} breaks a rule: attacked {attacked}; asked plainly {plain}")
    for record in summary["differences"]:
        change = record["broken"]["held_out"][rule]
        name = " - ".join(record["arms"])
        lines.append(f"{name:24} {_range(change, 'difference')}")
    return lines


def _range(record: dict[str, Any], key: str) -> str:
    from vcjax.stats.intervals import Interval

    interval = Interval.of(record, key)
    return f"{interval:.1%}" if interval.bounds else "too few queries"


if __name__ == "__main__":
    run(main)
