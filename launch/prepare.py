"""Makes a prepared dataset of raw files: selected, clean, deduplicated, tokenised, packed.

python -m launch.prepare --config=configs/prepare.py --config.documents=FILES --workdir=corpus
"""

import sys

from absl import flags

from vcjax.core.commands import next_command
from vcjax.core.script import define_config, run

CONFIG = define_config(
    "configs/prepare.py",
    "The config of the corpus.",
    classes={"": "vcjax.data.corpus.config:PrepareConfig"},
)
WORKDIR = flags.DEFINE_string("workdir", None, "Where the dataset is made.", required=True)

_TRAINING = {
    "documents": ("--config=configs/cpt.py",),
    "conversations": ("--config=configs/sft.py",),
    "preferences": ("--config=configs/adversarial.py", "--config.objective=dpo"),
}
"""The config that trains on each kind of records, as flags."""


def main() -> None:
    from vcjax.data.corpus.config import PrepareConfig
    from vcjax.data.corpus.executors import executor_for, first_script
    from vcjax.data.corpus.report import step_table
    from vcjax.data.corpus.run import prepare_corpus
    from vcjax.data.preparation import omissions
    from vcjax.data.prepared import TRAIN, VALIDATION
    from vcjax.weights.load import open_model

    config = PrepareConfig.from_dict(CONFIG.value)
    if config.executor == "slurm" and config.slurm.dry_run:
        print(first_script(config, WORKDIR.value))
        return
    model = open_model(config.model)
    summary = prepare_corpus(
        config, WORKDIR.value, model.require_tokenizer(), model.origin, executor_for(config)
    )
    for line in [*step_table(summary), *omissions(summary)]:
        print(f"  {line}", file=sys.stderr)
    for split in (TRAIN, VALIDATION):
        if (found := summary if split == TRAIN else summary.get(split)) is not None:
            counts = f"{found['rows']} rows, {found['tokens']} tokens"
            print(
                f"{WORKDIR.value}: {split}: {found['documents']} {config.kind} in {counts}",
                file=sys.stderr,
            )
    print(
        f"look at {WORKDIR.value}/README.md (samples of what was removed) and "
        f"{WORKDIR.value}/funnel.svg (what each step left)\n"
        "next: "
        + next_command(
            f"{__package__}.train",
            *_TRAINING[config.kind],
            f"--config.{config.kind}={WORKDIR.value}",
            "--workdir=DIR",
        ),
        file=sys.stderr,
    )


if __name__ == "__main__":
    run(main)
