"""Plans a run on hardware that isn't here: memory, time, and whether it fits.

python -m launch.plan --config=configs/sft.py:8b --topology=v5e-64

Nothing is allocated and no data is read. The model may be a shape without weights: `llama3-8b`,
`llama3-70b`, `llama3.2-1b`, `smollm2-135m`. The exit code is 3 if the run doesn't fit.

python -m launch.plan --config=configs/synthesize.py --config.actor=llama3-8b \
    --measured=runs/synthesize/summary.json --accepted=64000 --topology=h100x8

The second command estimates a synthesis run from the tokens and the yield of a small run.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.script import define_config, run

if TYPE_CHECKING:
    from vcjax.plan.topology import Topology

CONFIG = define_config(
    None,
    "The config of a stage: a file in configs/.",
    classes={
        "attacker": "vcjax.adversarial.config:SynthesisConfig",
        "": "vcjax.train.config:TrainConfig",
    },
    example="configs/sft.py:8b",
)
TOPOLOGY = flags.DEFINE_string(
    "topology",
    None,
    "v5e-N, v6e-N (chips), v5p-N (TensorCores, two a chip), h100xN, h200xN, a100xN, "
    "a100-40gbxN, b200xN, l4xN, t4xN, rtx4090xN, cpu:N.",
    required=True,
)
BESIDE = flags.DEFINE_list(
    "beside", [], "Other models loaded on the same devices, such as a Critic."
)
COMPILE = flags.DEFINE_bool(
    "compile", None, "Compile the step for the topology; default: where its compiler is installed."
)
MEASURED = flags.DEFINE_string("measured", None, "Synthesis: the summary.json of a small run.")
ACCEPTED = flags.DEFINE_integer(
    "accepted", 64_000, "Synthesis: accepted pairs to plan for; the paper has 64 k.", lower_bound=1
)
flags.mark_flag_as_required("config")


def main() -> None:
    from vcjax.plan.plan import make_plan
    from vcjax.plan.setting import plan_config, read_shape
    from vcjax.plan.table import lines
    from vcjax.plan.topology import read_topology

    topology = read_topology(TOPOLOGY.value)
    if "attacker" in CONFIG.value:
        _synthesis(topology)
        return
    config = plan_config(CONFIG.value.to_dict())
    beside = tuple(read_shape(name) for name in BESIDE.value)
    plan = make_plan(read_shape(config.model), config, topology, beside, COMPILE.value)
    for line in lines(plan):
        print(line)
    if not plan.fits:
        short = (plan.needed - plan.limit) / 2**30
        raise GateNotMet(f"{TOPOLOGY.value}: short of {short:.2f} GiB per device")


def _synthesis(topology: "Topology") -> None:
    from vcjax.plan.synthesis import plan_synthesis, read_measured, synthesis_lines

    if MEASURED.value is None:
        raise UserError(
            "--measured: name the summary.json of a small run, which has the cost of a pair"
        )
    config = CONFIG.value.to_dict()
    measured = read_measured(Path(MEASURED.value))
    shares = plan_synthesis(config, measured, ACCEPTED.value, topology)
    for line in synthesis_lines(shares, measured, ACCEPTED.value, config, topology):
        print(line)


if __name__ == "__main__":
    run(main)
