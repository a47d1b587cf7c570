"""A run on two devices validates as one on a single device does."""

import os
import subprocess
import sys

import pytest

from tests.compilation import with_devices
from tests.processes import ROOT
from tests.train.conftest import documents, model_config, model_folder, params, settings, tokenizer
from tests.train.evaluate_once import evaluate_once
from tests.train.test_evaluation import changes
from vcjax.core.files import write_json
from vcjax.train.logging import read_lines

# Fixtures.
__all__ = [
    "changes",
    "documents",
    "model_config",
    "model_folder",
    "params",
    "settings",
    "tokenizer",
]


def test_two_devices_measure_what_one_does(settings, changes, tmp_path):
    for name in ("one", "two"):
        write_json(tmp_path / name / "config.json", settings(**changes))
    measuring = evaluate_once(tmp_path / "one")
    flags = {"XLA_FLAGS": with_devices(2), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.train.evaluate_once", str(tmp_path / "two")]
    run = subprocess.run(command, cwd=ROOT, env=os.environ | flags, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    one, two = (read_lines(tmp_path / name / "validation.jsonl")[0] for name in ("one", "two"))
    assert list(one["groups"]) == ["en", "zh"]
    for part in (lambda line: line, lambda line: line["groups"]["zh"]):
        assert part(two)["count"] == part(one)["count"]
        assert part(two)["loss"] == pytest.approx(part(one)["loss"], rel=1e-6)
    samples = [read_lines(tmp_path / name / "samples.jsonl") for name in ("one", "two")]
    assert samples[0] == samples[1]
    assert [line["prompt"] for line in samples[0]] == ["People", "历史"]
    about = {"first_loss": one["loss"], "last_loss": one["loss"], "best_loss": one["loss"]}
    assert measuring.summary() == {"validation": {**about, "best_step": 0}}

    # The same model once more, in a run that goes on from its first step: its loss is no lower.
    stopped = evaluate_once(tmp_path / "one", done=1, step=2)
    assert stopped.stopping.stopped == stopped.summary()["stopped_early"] == 2
    assert [line["step"] for line in read_lines(tmp_path / "one" / "validation.jsonl")] == [0, 2]
