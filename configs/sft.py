"""Instruction tuning on conversations; the loss is that of the assistant's turns alone.

    python -m launch.train --config=configs/sft.py --workdir=runs/sft --config.model=runs/cpt

On two CPU cores: minutes. Expected: the loss falls over the 40 steps. Without `--config.model` it
starts from the shipped model instead of the continued pre-training's result.

The paper's scale, with your own model and data (the paper: 940 k pairs):

    python -m launch.train --config=configs/sft.py:paper --workdir=runs/sft \\
        --config.model=runs/cpt --config.conversations=PREPARED_FOLDER

Unspecified in the paper, so ours: see `configs.common.base`; also the number of epochs.
"""

from ml_collections import ConfigDict

from configs.common import base, demo_data, paper_scale, vary


def get_config(variant: str = "demo") -> ConfigDict:
    return vary(base("sft"), variant, {"demo": _demo, "paper": _paper})


def _demo(config: ConfigDict) -> None:
    config.conversations = demo_data("conversations.jsonl")


def _paper(config: ConfigDict) -> None:
    paper_scale(config)
    config.steps = 4_000
