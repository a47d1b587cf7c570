"""Runs tasks of EleutherAI's evaluation harness on any model reference, or on an endpoint.

python -m launch.capability --model=smollm2-135m-instruct --tasks=arc_easy --workdir=runs/capability

The harness's own tasks download their data from the hub; those of `--task_path` may read local
files. A task may name Python functions in files beside it, which are then run: only use tasks from
people you trust. The script needs the extra `eval`.
"""

import logging

from absl import flags

from vcjax.core.commands import next_command
from vcjax.core.errors import UserError
from vcjax.core.script import run
from vcjax.generate import WEIGHT_FORMS
from vcjax.weights import DTYPES

MODEL = flags.DEFINE_string(
    "model",
    None,
    "Any model reference, or http://HOST:PORT/v1#NAME; of replicas http://A/v1,http://B/v1#NAME.",
    required=True,
)
TASKS = flags.DEFINE_list("tasks", None, "Tasks, groups, tags or YAML files.", required=True)
TASK_PATH = flags.DEFINE_string("task_path", None, "A folder with tasks as YAML files.")
LIMIT = flags.DEFINE_float("limit", None, "Documents per task; below 1, their share; default: all.")
NUM_FEWSHOT = flags.DEFINE_integer(
    "num_fewshot", None, "Few-shot examples before each document; default: the task's own."
)
APPLY_CHAT_TEMPLATE = flags.DEFINE_bool(
    "apply_chat_template",
    False,
    "Render documents as conversations with the model's chat template.",
)
TOKENIZER = flags.DEFINE_string(
    "tokenizer", None, "A model reference with the tokenizer of the endpoint's model."
)
DTYPE = flags.DEFINE_enum("dtype", None, DTYPES, "Dtype of the weights; default: the source's own.")
WEIGHTS = flags.DEFINE_enum(
    "weights", "", WEIGHT_FORMS, "Quantisation of the projections' kernels."
)
TENSOR = flags.DEFINE_integer(
    "tensor",
    1,
    "Devices over which each copy of the model is sharded.",
    lower_bound=1,
)
REPLICAS = flags.DEFINE_integer(
    "replicas",
    0,
    "Copies of the model, with devices of their own; 0: as many as this machine has devices for.",
    lower_bound=0,
)
SLOTS = flags.DEFINE_integer(
    "slots", 0, "Sequences that decode together; 0: as many as the memory holds.", lower_bound=0
)
CONTEXT = flags.DEFINE_integer(
    "context",
    0,
    "Tokens of the longest sequence; 0: as many as the memory holds in every slot.",
    lower_bound=0,
)
SEED = flags.DEFINE_integer(
    "seed", 1234, "Seed of the few-shot examples and of sampling.", lower_bound=0
)
WORKDIR = flags.DEFINE_string("workdir", None, "The run's workdir.", required=True)


def main() -> None:
    try:
        from vcjax.evaluation.capability.run import (
            CapabilityConfig,
            measure_capability,
            score_lines,
        )
    except ModuleNotFoundError as error:
        if error.name != "lm_eval":
            raise
        raise UserError(
            "the evaluation harness isn't installed: pip install 'vcjax[eval]'"
        ) from None
    for name in ("lm_eval", "datasets", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)
    config = CapabilityConfig(
        model=MODEL.value,
        tasks=tuple(TASKS.value),
        task_path=TASK_PATH.value,
        tokenizer=TOKENIZER.value,
        limit=LIMIT.value,
        num_fewshot=NUM_FEWSHOT.value,
        apply_chat_template=APPLY_CHAT_TEMPLATE.value,
        dtype=DTYPE.value or "",
        weights=WEIGHTS.value,
        slots=SLOTS.value,
        context=CONTEXT.value,
        tensor=TENSOR.value,
        replicas=REPLICAS.value,
        seed=SEED.value,
    )
    for line in score_lines(measure_capability(config, WORKDIR.value)):
        print(line)
    print(
        f"look at {WORKDIR.value}/capability.json; next, to compare: "
        + next_command(
            f"{__package__}.capability",
            "--model=OTHER",
            f"--tasks={','.join(TASKS.value)}",
            "--workdir=DIR",
        )
    )


if __name__ == "__main__":
    run(main)
