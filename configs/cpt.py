"""Continued pre-training on documents.

    python -m launch.train --config=configs/cpt.py --workdir=runs/cpt

On two CPU cores: minutes. Expected: the loss falls over the 40 steps (the demonstration's few
documents are repeated several times); the run shows that the road works, not what a corpus teaches.

Variants `1b` and `qlora` (8B, frozen weights in four bits) fit one GPU of 16 GB, `8b` and `70b` are
for many devices, all with your own model and corpus. `8b` is the
paper's setting (a Llama-3-8B base in a Chinese variant, 33.7 GB of curated text):

    python -m launch.train --config=configs/cpt.py:8b --workdir=runs/cpt \\
        --config.model=MODEL --config.documents=PREPARED_FOLDER

`launch.plan --config=configs/cpt.py:8b` estimates memory and time on a topology.

Unspecified in the paper and therefore ours: what `training_config` lists, and whether this stage
trains adapters or all weights (`--config.lora.rank=0` trains all; use a lower learning rate then).
"""

from ml_collections import ConfigDict

from vcjax.core.defaults import demo_data, training_config, with_variant
from vcjax.data.corpus.config import raw_files_config


def get_config(variant: str = "demo") -> ConfigDict:
    config = training_config("cpt")
    config.prepare = raw_files_config()
    return with_variant(config, variant, _demo, _scaled)


def _demo(config: ConfigDict) -> None:
    config.documents = demo_data("documents.jsonl")


def _scaled(config: ConfigDict) -> None:
    config.steps = 30_000
    config.warmup_steps = 1_000
