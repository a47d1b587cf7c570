"""Instruction tuning on conversations, with the loss on the assistant's turns alone.

    python -m launch.train --config=configs/sft.py --workdir=runs/sft --config.model=runs/cpt

On two CPU cores: minutes. Expected: the loss falls over the 40 steps. Without `--config.model` it
starts from the shipped model instead of the result of continued pre-training.

Variants `1b` and `qlora` (8B, frozen weights in four bits) fit one GPU of 16 GB, `8b` and `70b` are
for many devices, all with your own model and data. `8b` is the
paper's setting (940 k pairs):

    python -m launch.train --config=configs/sft.py:8b --workdir=runs/sft \\
        --config.model=runs/cpt --config.conversations=PREPARED_FOLDER

`launch.plan --config=configs/sft.py:8b` estimates memory and time on a topology.

Unspecified in the paper and therefore ours: what `training_config` lists, and the number of epochs.
"""

from ml_collections import ConfigDict

from vcjax.core.defaults import demo_data, training_config, with_variant
from vcjax.data.corpus.config import raw_files_config


def get_config(variant: str = "demo") -> ConfigDict:
    config = training_config("sft")
    config.prepare = raw_files_config()
    return with_variant(config, variant, _demo, _scaled)


def _demo(config: ConfigDict) -> None:
    config.conversations = demo_data("conversations.jsonl")


def _scaled(config: ConfigDict) -> None:
    config.steps = 4_000
