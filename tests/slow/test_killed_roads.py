"""Roads whose processes are killed on the way, each of several starts."""

import json
import signal
import time

import numpy as np

from tests.processes import started
from tests.road.conftest import facts_file, road
from tests.road.demo.test_run import KINDS, driven
from tests.road.test_pressure import finished, settings, whole
from tests.scripts import ran
from tests.slow.ablations import done, grown, values
from vcjax.core.defaults import training_config
from vcjax.core.files import read_json
from vcjax.core.lineage import verify
from vcjax.road.demo.config import DemoConfig
from vcjax.road.demo.run import run_demo

CONFIG = """
import json
from ml_collections import ConfigDict


def get_config():
    return ConfigDict(json.loads({text!r}))
"""

__all__ = [
    "done",
    "driven",
    "facts_file",
    "finished",
    "grown",
    "road",
    "settings",
    "values",
    "whole",
]  # fixtures


def test_a_demo_that_is_killed_on_the_way_continues_to_the_same_end(
    driven, road, tmp_path, script_cache
):
    path, workdir = tmp_path / "road.py", tmp_path / "run"
    path.write_text(CONFIG.format(text=json.dumps(road)), encoding="utf-8")
    command = [f"--config={path}", f"--workdir={workdir}"]
    for folder in ("sft/checkpoints", "synthesis/ledger.sqlite", "export"):
        process = started("demo", command, script_cache)
        while process.poll() is None and not (workdir / folder).exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        _, error = process.communicate()
        assert process.returncode == -signal.SIGKILL, error
        assert not (workdir / "report.html").exists()
    summary = run_demo(DemoConfig.from_dict(road), workdir)
    wanted = driven[1]
    for name, stage in wanted["stages"].items():
        assert summary["stages"][name]["last_loss"] == stage["last_loss"]
    for kind in ("attempts", *KINDS, "cells", "tokens"):
        assert summary["synthesis"][kind] == wanted["synthesis"][kind]
    assert summary["evaluation"]["comparison"] == wanted["evaluation"]["comparison"]
    assert summary["pressure"] == wanted["pressure"]
    assert {finding.status for finding in verify(workdir)} == {"ok"}


def test_a_killed_ablation_continues_to_the_same_end(values, done, tmp_path, script_cache):
    path, workdir = tmp_path / "ablate.py", tmp_path / "run"
    text = json.dumps({**values, "seeds": 1, "rounds": 1})
    path.write_text(CONFIG.format(text=text), encoding="utf-8")
    command = [f"--config={path}", f"--workdir={workdir}"]
    for folder in ("queries/ledger.sqlite", "adversarial/seed0/train1/checkpoints"):
        process = started("ablate", command, script_cache)
        while process.poll() is None and not (workdir / folder).exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        _, error = process.communicate()
        assert process.returncode == -signal.SIGKILL, error
    code, out, error = ran("ablate", command, script_cache)
    assert code == 0, error
    assert "adversarial - ordinary" in out
    summary = read_json(workdir / "summary.json")
    for name in ("adversarial", "ordinary"):
        (own,) = summary["arms"][name]["runs"]
        assert own["rounds"] == done[1]["arms"][name]["runs"][0]["rounds"][:1]
    assert {finding.status for finding in verify(workdir)} == {"ok"}


def test_a_pressure_experiment_that_is_killed_twice_has_the_numbers_of_one_that_is_not(
    whole, finished, tmp_path, script_cache
):
    path, workdir = tmp_path / "pressure.py", tmp_path / "run"
    path.write_text(CONFIG.format(text=json.dumps(whole)), encoding="utf-8")
    command = [f"--config={path}", f"--workdir={workdir}"]
    for folder in ("clean/seed0/train/checkpoints", "adversarial/seed0/measured/scores.jsonl"):
        process = started("ablate", command, script_cache)
        while process.poll() is None and not (workdir / folder).exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        _, error = process.communicate()
        assert process.returncode == -signal.SIGKILL, error
        assert not (workdir / "report.html").exists()
    code, out, error = ran("ablate", command, script_cache)
    assert code == 0, error
    assert "Adversarial beside clean" in out
    summary, wanted = read_json(workdir / "summary.json"), finished[1]
    for name, arm in wanted["arms"].items():
        for key in ("languages", "documents", "seeds"):
            assert summary["arms"][name][key] == arm[key], name
    for key in ("knowledge", "contrasts", "answers", "probes"):
        assert summary[key] == wanted[key], key
    assert {finding.status for finding in verify(workdir)} == {"ok"}


def test_a_dpo_run_that_is_killed_in_its_reference_pass_continues_there(
    tiny_folder, tmp_path, script_cache
):
    """Killed with its first scores on the disk: these are in the finished run, bit for bit."""
    lines = [
        {"prompt": f"{n}?", "chosen": "Yes. " * (1 + n % 90), "rejected": "No."}
        for n in range(3000)
    ]
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    config = {
        "model": str(tiny_folder),
        "preferences": str(pairs),
        "length": 256,
        "steps": 1,
        "warmup_steps": 0,
    }
    path = tmp_path / "dpo.py"
    values = training_config("adversarial").to_dict() | config
    values |= {"objective": "dpo", "documents": "", "conversations": "", "batch_size": 2}
    path.write_text(CONFIG.format(text=json.dumps(values)), encoding="utf-8")
    command = [f"--config={path}"]
    run = tmp_path / "run"
    scores = run / "data" / "reference" / "training-000.npz"
    process = started("train", [*command, f"--workdir={run}"], script_cache)
    while process.poll() is None and not scores.exists():
        time.sleep(0.01)
    process.kill()
    _, error = process.communicate()
    assert process.returncode == -signal.SIGKILL, error
    with np.load(scores) as stored:
        begun, scored = stored["log_probs"], stored["scored"]
    assert 0 < scored.sum() < len(scored)
    code, _, error = ran("train", [*command, f"--workdir={run}"], script_cache)
    assert code == 0, error
    with np.load(scores) as stored:
        assert stored["scored"].all()
        np.testing.assert_array_equal(stored["log_probs"][scored], begun[scored])
