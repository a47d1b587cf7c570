"""Runs the whole road: base model and charter in, aligned model, data, evidence and report out.

python -m launch.demo --workdir=runs/demo
"""

from absl import flags

from vcjax.core.commands import next_command
from vcjax.core.script import define_config, run

CONFIG = define_config(
    "configs/demo.py", "The config of the road.", classes={"": "vcjax.road.demo.config:DemoConfig"}
)
WORKDIR = flags.DEFINE_string("workdir", "runs/demo", "The road's workdir.")


def main() -> None:
    from vcjax.report.reports import demo_lines
    from vcjax.road.demo.config import DemoConfig
    from vcjax.road.demo.run import run_demo

    summary = run_demo(DemoConfig.from_dict(CONFIG.value.to_dict()), WORKDIR.value)
    for line in demo_lines(summary):
        print(line)
    print(
        f"look at {WORKDIR.value}/report.html; next: "
        + next_command(f"{__package__}.chat", f"--model={WORKDIR.value}/export")
    )


if __name__ == "__main__":
    run(main)
