"""What the loop does beside steps: it measures, stops early, prefers, and profiles itself."""

import json
import math

from vcjax.core.files import read_json
from vcjax.train.logging import VALIDATION, read_lines, read_metrics
from vcjax.train.loop import train
from vcjax.weights.bundle import load_bundle
from vcjax.weights.steps import saved_steps

OTHER_TEXTS = ["A bridge is built from both of its sides.", "雨停了以后，街上又有了人。"]


def test_a_run_that_gets_worse_stops_early_and_keeps_its_best(tmp_path, make_config, capsys):
    held_out = tmp_path / "held_out.jsonl"
    held_out.write_text("".join(json.dumps({"text": text}) + "\n" for text in OTHER_TEXTS))
    measured = {"data": str(held_out), "every": 1, "patience": 2}
    # The rate is far too high from the second step on.
    settings = {"learning_rate": 30.0, "warmup_steps": 6, "keep": 1, "keep_best": 1}
    config = make_config(steps=6, checkpoint_every=1, validation=measured, **settings)
    summary = train(config, tmp_path / "run")
    lines = read_lines(tmp_path / "run" / VALIDATION)
    best = min(lines, key=lambda line: math.inf if line["loss"] is None else line["loss"])
    stopped = summary["stopped_early"]
    assert stopped == best["step"] + 2 < 6
    assert summary["steps"] == stopped == lines[-1]["step"]
    assert summary["validation"]["best_step"] == best["step"]
    kept = [step for step in (best["step"], stopped) if step]
    assert saved_steps(tmp_path / "run") == kept
    assert train(config, tmp_path / "run") == summary
    assert "already finished" in capsys.readouterr().out


def test_dpo_begins_at_even_odds_and_learns_to_prefer(preferring):
    lines = read_metrics(preferring)
    assert abs(lines[0]["loss"] - math.log(2)) < 1e-4  # policy and reference are the same yet
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert lines[-1]["margin"] > 0
    assert read_json(preferring / "summary.json")["steps"] == 6
    assert "<|im_start|>" in load_bundle(str(preferring)).require_tokenizer().chat_template


def test_a_profile_is_a_trace_of_a_few_steps(tmp_path, make_config):
    train(make_config(steps=6), tmp_path / "run", profile=True)
    assert list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))
