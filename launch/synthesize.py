"""Makes adversarial pairs: Attacker, Actor and Critic over the cells of a charter.

python -m launch.synthesize --config=configs/synthesize.py --workdir=runs/synthesize
python -m launch.synthesize --config=configs/rounds.py --workdir=runs/rounds

The second command alternates attacks and training, round by round. With --preview=N the first
command makes N attempts, prints their prompts, and estimates the tokens and the cost of them all;
without it, it goes on from there. With --executor=ray the models run on all devices of the cluster
of Ray that RAY_ADDRESS names, and the run is the same.
"""

import sys
from typing import Any

from absl import flags

from vcjax.core.commands import next_command
from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.script import define_config, run
from vcjax.core.settings import build

CONFIG = define_config(
    "configs/synthesize.py",
    "The config of the synthesis, or of its rounds with training.",
    classes={
        "rounds": "vcjax.road.rounds:RoundsConfig",
        "": "vcjax.adversarial.config:SynthesisConfig",
    },
)
WORKDIR = flags.DEFINE_string("workdir", None, "The run's workdir.", required=True)
PREVIEW = flags.DEFINE_integer(
    "preview", 0, "Make so many attempts, and estimate what all would cost; 0: run.", lower_bound=0
)
EXECUTOR = flags.DEFINE_enum(
    "executor",
    "local",
    ["local", "ray"],
    "Where the models run: on this machine's devices, or on those of a cluster of Ray.",
)


def main() -> None:
    values = CONFIG.value.to_dict()
    if "rounds" in values and PREVIEW.value:
        raise UserError("--preview: a config of rounds has none; preview the config of a synthesis")
    if "rounds" in values and EXECUTOR.value != "local":
        raise UserError(
            f"--executor={EXECUTOR.value}: rounds train on this machine; use it with the config of "
            "a synthesis"
        )
    if PREVIEW.value:
        _preview(values)
    elif "rounds" in values:
        _attack_and_train(values)
    else:
        _attack(values)


def _attack_and_train(values: dict[str, Any]) -> None:
    from vcjax.road.rounds import RoundsConfig, run_rounds
    from vcjax.road.rounds_summary import rounds_markdown

    print(rounds_markdown(run_rounds(RoundsConfig.from_dict(values), WORKDIR.value)))
    print(f"look at {WORKDIR.value}/README.md; more rounds extend the run", file=sys.stderr)


def _preview(values: dict[str, Any]) -> None:
    from vcjax.adversarial.config import SynthesisConfig
    from vcjax.adversarial.preview import preview, table

    config = build(SynthesisConfig, values, "config")
    found = preview(config, WORKDIR.value, PREVIEW.value, print, EXECUTOR.value)
    for line in table(found):
        print(line)


def _attack(values: dict[str, Any]) -> None:
    from vcjax.adversarial.config import SynthesisConfig
    from vcjax.adversarial.run import synthesize
    from vcjax.adversarial.summary import occupancy_line, shortfall

    config = build(SynthesisConfig, values, "config")
    summary = synthesize(config, WORKDIR.value, executor=EXECUTOR.value)
    kinds = ("attempts", "accepted", "rejected", "unscored", "blocked")
    print(f"{WORKDIR.value}: " + ", ".join(f"{summary[kind]} {kind}" for kind in kinds))
    print("  " + " > ".join(f"{count} {stage}" for stage, count in summary["funnel"].items()))
    if line := occupancy_line(summary):
        print(f"  {line}")
    for kind, reasons in summary["reasons"].items():
        for reason, count in reasons.items():
            print(f"  {count:5}  {kind}: {reason}", file=sys.stderr)
    print(
        f"look at {WORKDIR.value}/README.md; next: "
        + next_command(
            f"{__package__}.ledger", f"--ledger={WORKDIR.value}/ledger.sqlite", "--by=kind,reason"
        ),
        file=sys.stderr,
    )
    if line := shortfall(summary):
        raise GateNotMet(f"{WORKDIR.value}: {line}")


if __name__ == "__main__":
    run(main)
