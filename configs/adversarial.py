"""Adversarial training on the pairs that the Critic accepted, with replay of instruction tuning.

    python -m launch.train --config=configs/adversarial.py --workdir=runs/adversarial \\
        --config.model=runs/sft --config.conversations=runs/synthesize/accepted.jsonl

On two CPU cores: minutes. Expected: the loss falls over the 40 steps. One packed sequence in five
is replay of the demonstration's conversations.

Variants `1b` and `qlora` (8B, frozen weights in four bits) fit one GPU of 16 GB, `8b` and `70b` are
for many devices, all with your own model and data. `8b` is the
paper's setting (64 k pairs):

    python -m launch.train --config=configs/adversarial.py:8b --workdir=runs/adversarial \\
        --config.model=runs/sft --config.conversations=runs/synthesize/accepted.jsonl \\
        --config.replay=PREPARED_FOLDER_OF_SFT

`launch.plan --config=configs/adversarial.py:8b` estimates memory and time on a topology.

Unspecified in the paper and therefore ours: what `training_config` lists, replay, and its share.
"""

from ml_collections import ConfigDict

from vcjax.core.defaults import demo_data, training_config, with_variant
from vcjax.data.corpus.config import raw_files_config


def get_config(variant: str = "demo") -> ConfigDict:
    config = training_config("adversarial")
    config.prepare = raw_files_config()
    return with_variant(config, variant, _demo, _scaled)


def _demo(config: ConfigDict) -> None:
    config.charter = "universal"
    config.learning_rate = 1e-4
    config.replay = demo_data("conversations.jsonl")


def _scaled(config: ConfigDict) -> None:
    config.learning_rate = 1e-4
    config.steps = 500
