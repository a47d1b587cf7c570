"""Makes adversarial pairs: Attacker, Actor and Critic over the cells of a charter.

python -m launch.synthesize --config=configs/synthesize.py --workdir=runs/synthesize
python -m launch.synthesize --config=configs/rounds.py --workdir=runs/rounds

The second command alternates attacks and training, round by round.
"""

import sys
from typing import Any

from absl import flags

from vcjax.core.errors import GateNotMet
from vcjax.core.script import define_config, run
from vcjax.core.settings import build

CONFIG = define_config(
    "configs/synthesize.py", "The config of the synthesis, or of its rounds with training."
)
WORKDIR = flags.DEFINE_string("workdir", None, "The run's workdir.", required=True)


def main() -> None:
    values = CONFIG.value.to_dict()
    if "rounds" in values:
        _attack_and_train(values)
    else:
        _attack(values)


def _attack_and_train(values: dict[str, Any]) -> None:
    from vcjax.road.rounds import RoundsConfig, run_rounds
    from vcjax.road.rounds_summary import rounds_markdown

    print(rounds_markdown(run_rounds(RoundsConfig.from_dict(values), WORKDIR.value)))


def _attack(values: dict[str, Any]) -> None:
    from vcjax.adversarial.config import SynthesisConfig
    from vcjax.adversarial.run import synthesize
    from vcjax.adversarial.summary import shortfall

    summary = synthesize(build(SynthesisConfig, values, "config"), WORKDIR.value)
    kinds = ("attempts", "accepted", "rejected", "unscored", "blocked")
    print(f"{WORKDIR.value}: " + ", ".join(f"{summary[kind]} {kind}" for kind in kinds))
    print("  " + " > ".join(f"{count} {stage}" for stage, count in summary["funnel"].items()))
    for kind, reasons in summary["reasons"].items():
        for reason, count in reasons.items():
            print(f"  {count:5}  {kind}: {reason}", file=sys.stderr)
    if line := shortfall(summary):
        raise GateNotMet(f"{WORKDIR.value}: {line}")


if __name__ == "__main__":
    run(main)
