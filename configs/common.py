"""What the training configs share."""

from collections.abc import Callable, Mapping
from importlib.resources import files

from ml_collections import ConfigDict

from vcjax.foundation.errors import UserError, suggest


def base(stage: str) -> ConfigDict:
    """Every field of a training run; `vcjax.train.config.TrainConfig` says what each one means.

    The paper (arXiv 2601.13137) states LoRA and the sizes of its data. LoRA's rank, alpha and
    targets, learning rates and their schedule, weight decay, batch size, length, steps, dtype and
    hardware are unspecified in the paper: those here are ours.
    """
    config = ConfigDict()
    config.stage = stage
    config.objective = "next_token"
    config.model = "smollm2-135m-instruct"
    config.documents = ""
    config.conversations = ""
    config.preferences = ""
    config.replay = ""
    config.replay_weight = 0.25
    config.charter = ""
    config.steps = 40
    config.batch_size = 8
    config.microbatches = 1
    config.length = 256
    config.learning_rate = 2e-4
    config.schedule = "cosine"
    config.warmup_steps = 4
    config.decay_steps = 0
    config.final_learning_rate_ratio = 0.1
    config.optimizer = "adamw"
    config.weight_decay = 0.01
    config.b1 = 0.9
    config.b2 = 0.95
    config.clip_norm = 1.0
    config.groups = ()
    config.max_skipped = 10
    config.dtype = "float32"
    config.attention = "auto"
    config.remat = "none"
    config.offload = False
    config.lora = ConfigDict(
        {"rank": 16, "alpha": 32.0, "targets": ".*", "dropout": 0.0, "base": ""}
    )
    config.mesh = ConfigDict({"data": 1, "fsdp": -1, "tensor": 1, "sequence": 1})
    config.preference = ConfigDict({"beta": 0.1, "odds_weight": 0.1})
    config.validation = ConfigDict(
        {"data": "", "every": 0, "batches": 8, "patience": 0, "prompts": "", "max_tokens": 64}
    )
    config.checkpoint_every = 20
    config.keep = 2
    config.keep_best = 0
    config.sink = ""
    config.seed = 0
    config.on_bad_record = "error"
    return config


def paper_scale(config: ConfigDict) -> None:
    """An 8B model on accelerators. The model and the data are the user's to name."""
    config.model = ""
    config.batch_size = 64
    config.length = 4096
    config.warmup_steps = 100
    config.dtype = "bfloat16"
    config.remat = "full"
    config.checkpoint_every = 500
    config.charter = "vcllm"


def demo_data(name: str) -> str:
    """Path of a file of the shipped demonstration data."""
    return str(files("vcjax.data") / "demo" / name)


def vary(config: ConfigDict, variant: str, variants: Mapping[str, Callable]) -> ConfigDict:
    """Applies the variant of this name.

    Raises:
      UserError: there is none.
    """
    if variant not in variants:
        known = ", ".join(variants)
        raise UserError(
            f"config variant {variant!r} is none of {known}{suggest(variant, variants)}"
        )
    variants[variant](config)
    return config
