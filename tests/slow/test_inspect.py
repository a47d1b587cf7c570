"""The released facts in Inspect, against our own server: the same accuracy as by our own scores."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.serve.conftest import start
from vcjax.adversarial.pressure.probes import Probe, neutral_probes, score_probes
from vcjax.adversarial.pressure.release import write_benchmark
from vcjax.core.files import read_jsonl, write_jsonl
from vcjax.evaluation.facts.fact import load_facts
from vcjax.generate.engine_config import EngineConfig
from vcjax.generate.model_pool import ModelPool
from vcjax.roles.local import LocalRole

__all__ = ["start"]  # a fixture

ASKED = 24


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark") / "facts"
    write_benchmark(folder, ["threat", "gradual_escalation"])
    path = folder / "tasks" / "pressed.jsonl"
    write_jsonl(path, [record for _, record in read_jsonl(path)][:64])
    return folder


def test_inspect_gives_our_numbers_through_prompt_logprobs(
    inspect, benchmark, start, tiny_folder, tmp_path
) -> None:
    server = start().wait_ready()
    role = LocalRole(ModelPool(EngineConfig()), str(tiny_folder), family="tiny")
    for lang in ("en", "zh"):
        probes = [next(neutral_probes(fact, lang, [0])) for fact in load_facts()[:ASKED]]
        check(evaluated(inspect, benchmark, server, "facts", lang), role, probes, tmp_path / lang)
        path = benchmark / "tasks" / "pressed.jsonl"
        own = [dict(record) for _, record in read_jsonl(path) if record["lang"] == lang]
        probes = [Probe(**{**each, "messages": tuple(each["messages"])}) for each in own][:ASKED]
        log = evaluated(inspect, benchmark, server, "facts_pressed", lang)
        check(log, role, probes, tmp_path / f"pressed_{lang}")


def evaluated(inspect: Path, benchmark: Path, server, task: str, lang: str) -> dict:
    """Inspect's log of a task."""
    logs = benchmark.parent / f"{task}_{lang}"
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ours = {"LOCAL_BASE_URL": server.address, "LOCAL_API_KEY": "none"}
    command = [inspect, "eval", f"inspect_facts.py@{task}", "-T", f"lang={lang}"]
    command += ["--model", "openai-api/local/tiny", "--limit", str(ASKED), "--display", "none"]
    command += ["--log-format", "json", "--log-dir", str(logs)]
    done = subprocess.run(
        command,
        cwd=benchmark / "tasks",
        env=clean | ours,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = logs.glob("*.json")
    log = json.loads(path.read_text(encoding="utf-8"))
    assert log["status"] == "success", log.get("error")
    return log


def check(log: dict, role: LocalRole, probes: list[Probe], folder: Path) -> None:
    """Against our scores: each preference, and the accuracy, by direction where there is one."""
    ours = score_probes(role, probes, folder)
    (name,) = log["samples"][0]["scores"]
    found = {each["id"]: each["scores"][name]["metadata"]["preference"] for each in log["samples"]}
    assert found == pytest.approx(ours, abs=2e-3)
    (scores,) = log["results"]["scores"]
    values = {name: each["value"] for name, each in scores["metrics"].items()}
    for claimed in sorted({probe.claimed for probe in probes}):
        right = [ours[probe.id] > 0 for probe in probes if probe.claimed == claimed]
        value = values[claimed or "mean"]
        assert value == pytest.approx(sum(right) / len(right), abs=5e-4)
