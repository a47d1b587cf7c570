"""Trains by DPO on real preferences and prints, as JSON, the effect on held-out pairs.

    VCJAX_TEST_DATA=FOLDER python -m tests.external.dpo_on_hh WORKDIR [--model=REFERENCE] \\
        [--steps=30] [--held_out=150]

Accuracy is the share of pairs whose chosen answer has the higher likelihood, in sum and per token;
the intervals are those of the paired difference over the held-out pairs.
"""

import json
from pathlib import Path

from absl import app, flags

from tests.external.outside import DATA
from tests.pair_scores import accuracy, score_model
from vcjax.core.defaults import training_config
from vcjax.core.files import write_json
from vcjax.data.importers import read_records
from vcjax.data.preparation import prepare
from vcjax.data.prepared import open_prepared
from vcjax.stats.intervals import paired_difference
from vcjax.train.config import TrainConfig
from vcjax.train.loop import train
from vcjax.weights.load import load_model

MODEL = flags.DEFINE_string("model", "smollm2-135m-instruct", "What to begin with.")
STEPS = flags.DEFINE_integer("steps", 30, "Of training.")
PAIRS = flags.DEFINE_integer("pairs", 4, "In a step.")
LENGTH = flags.DEFINE_integer("length", 256, "Tokens of a prompt with its answer.")
RATE = flags.DEFINE_float("learning_rate", 2e-4, "At its peak.")
HELD_OUT = flags.DEFINE_integer("held_out", 150, "Pairs that aren't trained on.")

SOURCE = DATA / "hh_rlhf_harmless_test" / "harmless-base_test.jsonl.gz"


def main(arguments: list[str]) -> None:
    workdir = Path(arguments[1])
    held_out, trained = _prepare(workdir)
    before = score_model(load_model(MODEL.value, "float32"), held_out, 8)
    summary = train(_config(trained), workdir / "run")
    after = score_model(load_model(str(workdir / "run"), "float32"), held_out, 8)
    found = {"pairs": len(held_out), "steps": summary["steps"], "train": summary}
    for name, per_token in (("whole", False), ("by token", True)):
        margins = [scores.margins(per_token=per_token) for scores in (before, after)]
        change = paired_difference(*((values > 0).tolist() for values in margins))
        found[name] = {
            "before": accuracy(margins[0]),
            "after": accuracy(margins[1]),
            "change": [change.value, change.low, change.high],
        }
    rewards = after.margins(before)
    moved = paired_difference([0.0] * len(rewards), rewards.tolist())
    found["implicit reward"] = {
        "accuracy": accuracy(rewards),
        "margin": [moved.value, moved.low, moved.high],
    }
    write_json(workdir / "dpo.json", found)
    print(json.dumps(found, indent=2))


def _prepare(workdir: Path):
    """The held-out pairs, and the folder of those to train on."""
    tokenizer = load_model(MODEL.value).require_tokenizer()
    records = read_records(SOURCE, "preferences", on_bad_record="quarantine").records
    needed = STEPS.value * PAIRS.value * 2
    parts = {"held_out": records[: HELD_OUT.value], "trained": records[HELD_OUT.value :][:needed]}
    for name, part in parts.items():
        if not (workdir / name).is_dir():
            prepare(
                workdir / name,
                part,
                "preferences",
                tokenizer,
                LENGTH.value,
                on_bad_record="quarantine",
            )
    return open_prepared(workdir / "held_out"), workdir / "trained"


def _config(trained: Path) -> TrainConfig:
    return TrainConfig.from_dict(
        training_config("adversarial").to_dict()
        | {
            "objective": "dpo",
            "model": MODEL.value,
            "preferences": str(trained),
            "steps": STEPS.value,
            "batch_size": PAIRS.value,
            "length": LENGTH.value,
            "learning_rate": RATE.value,
        }
    )


if __name__ == "__main__":
    app.run(main)
