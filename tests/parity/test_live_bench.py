"""The bench's contenders do the same work: the same losses from the same batches, step by step."""

from dataclasses import asdict

import pytest

from benchmarks.contenders import ours, pytorch, transformers_generate
from benchmarks.environment import PEERS
from benchmarks.workload import Work
from vcjax.core.defaults import training_config
from vcjax.generate.engine import Engine
from vcjax.generate.requests import Request, SamplingParams
from vcjax.weights.load import load_model


@pytest.fixture(scope="module")
def config(tiny_folder) -> dict:
    settings = training_config("cpt").to_dict()
    return {
        **settings,
        "model": str(tiny_folder),
        "documents": "random ids",
        "lora": {**settings["lora"], "rank": 0},
        "schedule": "constant",
        "warmup_steps": 0,
        "batch_size": 2,
        "length": 32,
        # Enough for decay, clipping and moments to show in the losses.
        "learning_rate": 3e-3,
        "weight_decay": 1.0,
    }


@pytest.mark.parametrize(("dtype", "near"), [("float32", 1e-5), ("bfloat16", 3e-3)])
def test_transformers_takes_the_same_steps(config, dtype, near):
    config = {**config, "dtype": dtype}
    (options,) = (peer.options for peer in PEERS if peer.name == "transformers")
    mine = ours.setup({"config": config})
    theirs = pytorch.setup({"config": config, "cores": 1, **options})
    losses = [mine.step() for _ in range(5)]
    assert losses == pytest.approx([theirs.step() for _ in range(5)], rel=near)
    assert losses[0] != pytest.approx(losses[-1], rel=10 * near)


def test_transformers_generates_the_same_tokens(tiny_folder):
    work = Work(requests=2, prompt=7, new=12)
    asked = {"model": str(tiny_folder), "work": asdict(work), "dtype": "float32", "cores": 1}
    theirs = transformers_generate.generator(asked)
    loaded = load_model(str(tiny_folder), "float32")
    prompts = work.prompts(0, loaded.config.vocab_size).tolist()
    requests = [Request(tuple(prompt), SamplingParams(work.new)) for prompt in prompts]
    results = Engine(loaded.config, loaded.params, slots=2).generate(requests)
    assert theirs() == [list(result.tokens) for result in results]
