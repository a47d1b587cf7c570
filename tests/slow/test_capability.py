"""Runs of the evaluation harness that take half a minute each."""

import time
from dataclasses import replace

import pytest

from tests.evaluation.capability.conftest import datasets_of_its_own, task_folder, write_tasks
from tests.hub_server import TINY, hub_of
from tests.processes import started
from tests.road.conftest import facts_file
from tests.road.test_pressure import settings
from tests.scripts import ran
from tests.serve.servers import Server
from vcjax.core.commands import next_command
from vcjax.core.errors import UserError
from vcjax.core.files import read_json, read_jsonl
from vcjax.core.lineage import verify
from vcjax.evaluation.capability.run import CapabilityConfig, measure_capability, score_lines
from vcjax.evaluation.capability.tasks import load_tasks
from vcjax.road.pressure.config import PressureConfig
from vcjax.road.pressure.run import measure_pressure

# Fixtures.
__all__ = ["datasets_of_its_own", "facts_file", "settings", "task_folder"]


def test_limits_examples_and_templates_are_the_harnesss(tiny_folder, task_folder, tmp_path):
    group = CapabilityConfig(str(tiny_folder), ("made_up",), task_path=str(task_folder), slots=4)
    bare = measure_capability(replace(group, limit=3), tmp_path / "bare")
    shots = measure_capability(replace(group, limit=0.25, num_fewshot=2), tmp_path / "shots")
    chat = measure_capability(replace(group, limit=3, apply_chat_template=True), tmp_path / "chat")
    for summary in (bare, shots, chat):
        assert {name: task["n"] for name, task in summary["tasks"].items()} == {
            "colours": 3,
            "sayings": 3,
        }
        assert summary["tasks"]["colours"]["n_total"] == 12
        assert summary["groups"]["made_up"] == {
            "alias": "made_up",
            "tasks": ["colours", "sayings"],
            "num_fewshot": summary["tasks"]["colours"]["num_fewshot"],
            "metrics": {},
        }
    assert shots["tasks"]["colours"]["num_fewshot"] == 2
    requests = [
        {record["request"] for _, record in read_jsonl(tmp_path / name / "answers.jsonl")}
        for name in ("bare", "shots", "chat")
    ]
    # Whole texts are the same ones, whatever the prompts are like.
    assert len(requests[0] & requests[1]) == len(requests[0] & requests[2]) == 3


def test_a_killed_run_continues_where_it_was(tiny_folder, tmp_path, script_cache):
    folder = write_tasks(tmp_path / "tasks", 700)
    arguments = [f"--model={tiny_folder}", "--tasks=colours", f"--task_path={folder}"]
    answers = tmp_path / "killed" / "answers.jsonl"
    process = started("capability", [*arguments, f"--workdir={answers.parent}"], script_cache)
    while not (answers.exists() and answers.stat().st_size):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.kill()
    process.communicate()
    kept = answers.read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    assert 0 < kept.count(b"\n") < 2800

    code, out, error = ran("capability", [*arguments, f"--workdir={answers.parent}"], script_cache)
    assert code == 0, error
    assert answers.read_bytes().startswith(kept)
    config = CapabilityConfig(str(tiny_folder), ("colours",), task_path=str(folder))
    whole = measure_capability(config, tmp_path / "whole")
    assert read_json(answers.parent / "capability.json") == whole
    *lines, last = out.splitlines()
    assert lines == score_lines(whole)
    command = next_command("launch.capability", "--model=OTHER", "--tasks=colours")
    assert f"next, to compare: {command} " in last
    again = [dict(record) for _, record in read_jsonl(answers)]
    assert again == [dict(record) for _, record in read_jsonl(tmp_path / "whole" / "answers.jsonl")]


def test_an_endpoint_of_several_urls_answers_as_the_model_does(
    tiny_folder, task_folder, tmp_path, script_cache
):
    server = Server.start(tiny_folder, script_cache, ["--slots=4"]).wait_ready()
    try:
        # Two of one server, and one at which nobody listens.
        urls = f"{server.address},http://localhost:{server.port}/v1,http://127.0.0.1:9/v1"
        settings = {"task_path": str(task_folder), "slots": 4, "limit": 4}
        tasks = ("colours", "sayings")
        here = measure_capability(
            CapabilityConfig(model=str(tiny_folder), tasks=tasks, **settings), tmp_path / "here"
        )
        model = f"{urls}#tiny#concurrency=2#tries=1"
        there = measure_capability(
            CapabilityConfig(model=model, tasks=tasks, tokenizer=str(tiny_folder), **settings),
            tmp_path / "there",
        )
    finally:
        server.stop()
    assert there["model"] == {"reference": f"{urls}#tiny"}
    for task in tasks:
        found, expected = (each["tasks"][task]["metrics"] for each in (there, here))
        assert found.keys() == expected.keys()
        for metric, value in found.items():
            assert value["value"] == pytest.approx(expected[metric]["value"], rel=1e-3)


def test_a_run_goes_on_with_the_commit_that_it_began_with(
    tiny_folder, task_folder, tmp_path, monkeypatch
):
    workdir = tmp_path / "run"
    one = CapabilityConfig(TINY, ("colours",), task_path=str(task_folder), slots=4, limit=2)
    with hub_of(tiny_folder, tmp_path / "hub") as (begun, change):
        with monkeypatch.context() as patch:
            patch.setattr(
                "vcjax.evaluation.capability.run._scores", lambda _: 1 / 0
            )  # stopped, all answered
            with pytest.raises(ZeroDivisionError):
                measure_capability(one, workdir)
        answers = (workdir / "answers.jsonl").read_bytes()
        change()
        summary = measure_capability(one, workdir)
    assert summary["model"]["reference"] == begun
    assert (workdir / "answers.jsonl").read_bytes() == answers
    assert {finding.status for finding in verify(workdir)} == {"ok"}


def test_an_unknown_task_is_told_with_close_names_of_the_harness_and_of_the_folder(task_folder):
    with pytest.raises(UserError, match="no task 'colour'; close to it: colours"):
        load_tasks(["colours", "colour"], str(task_folder))
    with pytest.raises(UserError, match="no task 'hellaswagg'; close to it: hellaswag"):
        load_tasks(["hellaswagg"], None)


def test_every_arm_of_the_pressure_experiment_does_the_tasks(settings, task_folder, tmp_path):
    arms = {"base": {"data": "none"}, "clean": {"data": "clean"}}
    tasks = {"capability": "colours", "capability_path": str(task_folder), "capability_limit": 3}
    own = {"arms": arms, "answers": 0, "contrasts": ["clean - base: flips"]}
    config = PressureConfig.from_dict({**settings, **tasks, **own})
    with pytest.raises(UserError, match="tasks: no task 'colors'; close to it: colours"):
        measure_pressure(replace(config, capability="colors"), tmp_path / "misspelt")
    assert not (tmp_path / "misspelt").exists()
    found = measure_pressure(config, tmp_path / "run")["arms"]
    trained = tmp_path / "run" / "clean" / "seed0" / "train"
    for name, model in {"base": settings["model"], "clean": str(trained)}.items():
        alone = CapabilityConfig(model, ("colours",), str(task_folder), limit=3, dtype="float32")
        metrics = measure_capability(alone, tmp_path / name)["tasks"]["colours"]["metrics"]
        score = metrics["acc,none"]
        expected = {"metric": "acc", "mean": score["value"], "stderr": score["stderr"], "n": 3}
        assert found[name]["capability"]["colours"] == {**expected, "runs": [score["value"]]}
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "colours, acc" in report
