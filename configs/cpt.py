"""Continued pre-training on documents.

    python -m launch.train --config=configs/cpt.py --workdir=runs/cpt

On two CPU cores: minutes. Expected: the loss falls over the 40 steps (the demonstration's few
documents are seen several times); the run shows that the road holds, not what a corpus teaches.

The paper's scale, with your own model and corpus (the paper: a Llama-3-8B base in a Chinese
variant, 33.7 GB of curated text; expect days on a node of eight accelerators):

    python -m launch.train --config=configs/cpt.py:paper --workdir=runs/cpt \\
        --config.model=MODEL --config.documents=PREPARED_FOLDER

Unspecified in the paper, so ours: see `configs.common.base`; also whether this stage trains
adapters or all weights (`--config.lora.rank=0` trains all; take a lower learning rate then).
"""

from ml_collections import ConfigDict

from configs.common import base, demo_data, paper_scale, vary


def get_config(variant: str = "demo") -> ConfigDict:
    return vary(base("cpt"), variant, {"demo": _demo, "paper": _paper})


def _demo(config: ConfigDict) -> None:
    config.documents = demo_data("documents.jsonl")


def _paper(config: ConfigDict) -> None:
    paper_scale(config)
    config.steps = 30_000
    config.warmup_steps = 1_000
