"""What the training configs share."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

from vcjax.core.errors import UserError, suggest

SHAPES = {
    "1b": "llama3.2-1b",
    "qlora": "llama3-8b",
    "8b": "llama3-8b",
    "70b": "llama3-70b",
}
"""Shapes of the variants beside `demo`; the paper's model has that of `8b`."""

ONE_GPU = ("1b", "qlora")
"""Variants for one GPU of 16 or 24 GB; the others are for many devices."""


def training_config(stage: str) -> ConfigDict:
    """Every field of a training run; `vcjax.train.config.TrainConfig` documents each one.

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
    config.remat = "dots"
    config.offload = False
    config.lora = ConfigDict(
        {"rank": 16, "alpha": 32.0, "targets": ".*", "dropout": 0.0, "base": ""}
    )
    config.mesh = ConfigDict({"data": 1, "fsdp": -1, "tensor": 1, "sequence": 1})
    config.preference = ConfigDict({"beta": 0.1, "odds_weight": 0.1})
    config.validation = ConfigDict(
        {
            "data": "",
            "every": 0,
            "batches": 8,
            "patience": 0,
            "prompts": "",
            "max_tokens": 64,
            "similarity": 0.8,
        }
    )
    config.checkpoint_every = 20
    config.keep = 2
    config.keep_best = 0
    config.sink = ""
    config.seed = 0
    config.on_bad_record = "error"
    config.columns = ""
    config.tool_turns = "leave_out"
    config.require_domain = False
    return config


def at_scale(config: ConfigDict, variant: str) -> None:
    """A model of one of SHAPES on accelerators, in bfloat16.

    A step is 64 rows of 4,096 tokens, or on ONE_GPU 16 rows of 2,048 of which it has one at a
    time; `qlora` has the frozen weights in four bits. The model is a shape without weights, which
    `launch.plan` takes; to train, name a model of that shape, and the data.
    """
    config.model = SHAPES[variant]
    config.batch_size = 64
    config.length = 4096
    if variant in ONE_GPU:
        config.batch_size = config.microbatches = 16
        config.length = 2048
    if variant == "qlora":
        config.update({"lora": {"base": "nf4"}})
    config.warmup_steps = 100
    config.dtype = "bfloat16"
    config.remat = "full"
    config.checkpoint_every = 500
    config.charter = "vcllm"


def configs_folder() -> Path:
    """The folder of the shipped configs: in an installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    return (package if (package / "configs").is_dir() else package.parent) / "configs"


def shipped_config(name: str) -> ConfigDict:
    """The shipped config `configs/NAME.py`, for a config of one's own to change."""
    return run_path(str(configs_folder() / f"{name}.py"))["get_config"]()


def add_engine_fields(config: ConfigDict) -> None:
    """Adds the fields of `vcjax.generate.engine_config.EngineConfig`."""
    config.slots = 0
    config.context = 0
    config.dtype = "float32"
    config.weights = ""
    config.tensor = 1
    config.replicas = 0


def demo_data(name: str) -> str:
    """Path of a file of the shipped demonstration data."""
    return str(files("vcjax.data") / "demo" / name)


def with_variant(
    config: ConfigDict,
    variant: str,
    demo: Callable[[ConfigDict], None],
    scaled: Callable[[ConfigDict], None],
) -> ConfigDict:
    """Applies `demo`, or `at_scale` for one of SHAPES and then what its stage changes, `scaled`.

    Raises:
      UserError: there is no variant of this name.
    """
    variants = ("demo", *SHAPES)
    if variant not in variants:
        known = ", ".join(variants)
        raise UserError(
            f"config variant {variant!r} is none of {known}{suggest(variant, variants)}"
        )
    if variant == "demo":
        demo(config)
    else:
        at_scale(config, variant)
        scaled(config)
    return config
