"""Converts a model between formats, or exports a training run's adapters for `peft`.

python -m launch.convert --src=smollm2-135m-instruct --dst=out --to=hf
python -m launch.convert --src=runs/sft --dst=adapters --to=peft
python -m launch.convert --src=runs/sft --dst=served --to=gguf --dtype=float16

The last writes served/model.gguf, for llama.cpp and Ollama.
"""

import sys

from absl import flags

from vcjax.core.commands import next_command
from vcjax.core.errors import UserError
from vcjax.core.lineage import NAME, content_hash, read_lineage
from vcjax.core.script import run
from vcjax.core.stores import reached
from vcjax.weights import DTYPES

SRC = flags.DEFINE_string("src", None, "Any model reference.", required=True)
DST = flags.DEFINE_string("dst", None, "The folder to write.", required=True)
TO = flags.DEFINE_enum("to", "hf", ["hf", "checkpoint", "peft", "gguf"], "Format of the result.")
DTYPE = flags.DEFINE_enum(
    "dtype",
    None,
    [*DTYPES, "q8_0"],
    "Dtype of the weights; default: the source's own, float32 for quantised ones and adapters. "
    "q8_0 is for --to=gguf alone.",
)


def main() -> None:
    from vcjax.text.chat_settings import split_options
    from vcjax.weights.export import GGUF, save_adapters, save_model
    from vcjax.weights.gguf.writer import FILE
    from vcjax.weights.load import open_located
    from vcjax.weights.resolve import resolve

    if DTYPE.value == "q8_0" and TO.value != "gguf":
        raise UserError(f"--dtype=q8_0: only --to=gguf stores weights so, not --to={TO.value}")
    located, target = resolve(SRC.value), reached(DST.value)
    if (target / NAME).is_file():
        made = read_lineage(target)
        first = made["parents"][0] if made["parents"] else {"hash": None, "reference": ""}
        options = [split_options(each)[1] for each in (first["reference"], located.reference)]
        same = made["config"].get("form") == TO.value and first["hash"] == content_hash(
            located.path, located.files
        )
        same = same and options[0] == options[1]
        if same and DTYPE.value in (None, made["config"].get("dtype")):
            print(f"{target}: already converted from {SRC.value}")
            return
    if TO.value == "peft":
        dtype = save_adapters(located, target, DTYPE.value)
    else:
        model = open_located(located)
        save_model(model, target, form=TO.value, dtype=DTYPE.value)
        dtype = DTYPE.value or model.stored_dtype
    print(f"{target}: {TO.value}, {dtype}", file=sys.stderr)
    reference = target / FILE if TO.value == GGUF else target
    print(
        f"look at {target}/README.md; next: "
        + next_command(f"{__package__}.chat", f"--model={reference}"),
        file=sys.stderr,
    )


if __name__ == "__main__":
    run(main)
