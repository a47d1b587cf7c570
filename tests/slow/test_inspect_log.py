"""The log that `launch.evaluate --inspect_log` writes, read by Inspect itself and shown by its own
viewer. Needs chromium and chromedriver."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.evaluation.measures.conftest import questions, world, write_jsonl
from tests.serve.servers import eventually
from tests.slow.browser import Browser, browser
from vcjax.core.files import read_jsonl
from vcjax.evaluation.comparison.reading import read_run
from vcjax.evaluation.inspect_log import NAME
from vcjax.road.evaluate import run_evaluation

__all__ = ["world"]  # a fixture

TURNS = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi."}]

READ = """
import json
import sys
from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries, write_eval_log

path, out = sys.argv[1:]
log = read_eval_log(path)
for suffix in ("eval", "json"):
    write_eval_log(log, f"{out}/rewritten.{suffix}")


def turns(messages):
    return messages if isinstance(messages, str) else [[m.role, m.text] for m in messages]


print(json.dumps({
    "status": log.status,
    "model": log.eval.model,
    "results": {s.name: {n: m.value for n, m in s.metrics.items()} for s in log.results.scores},
    "listed": sorted(each.id for each in read_eval_log_sample_summaries(path)),
    "samples": {
        s.id: {
            "input": turns(s.input),
            "messages": turns(s.messages),
            "answer": s.output.completion,
            "stopped": s.output.stop_reason,
            "tokens": s.output.usage.output_tokens,
            "target": s.target,
            "metadata": s.metadata,
            "score": str(s.scores["judge"].value),
            "reason": s.scores["judge"].reason,
        }
        for s in log.samples
    },
}))
"""


def score(id: str) -> object:
    return "Four, I think." if id == "gender-1-zh" else len(id) % 6


@pytest.fixture
def evaluated(world, tiny_folder, tmp_path) -> Path:
    """The workdir of an evaluation of a real model under a persona, with a log."""
    config = replace(
        world(score),
        model=str(tiny_folder),
        model_family="tiny",
        persona=True,
        max_tokens=6,
    )
    items = questions(3)
    write_jsonl(tmp_path / "items.jsonl", [items[0] | {"conversation": TURNS}, *items[1:]])
    run_evaluation(config, tmp_path / "run", inspect_log=True)
    return tmp_path / "run"


def test_inspect_reads_what_was_asked_answered_and_scored(inspect, evaluated, tmp_path):
    command = [inspect.with_name("python"), "-c", READ, evaluated / NAME, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    log = json.loads(done.stdout.splitlines()[-1])
    own = {record["id"]: record for record in read_run(evaluated, "x").records}
    answers = {record["id"]: record for _, record in read_jsonl(evaluated / "answers.jsonl")}
    assert log["status"] == "success"
    assert log["samples"].keys() == set(log["listed"]) == own.keys()
    for id, sample in log["samples"].items():
        assert sample["answer"] == answers[id]["answer"]
        assert sample["tokens"] == answers[id]["tokens"]
        assert sample["stopped"] in ("stop", "max_tokens")
        assert sample["target"] == "Weighs both sides."
        assert sample["metadata"]["domain"] == own[id]["domain"]
        assert sample["messages"][-1] == ["assistant", sample["answer"]]
        assert sample["messages"][0][0] == "system"
        wanted = own[id]["score"]
        assert sample["score"] == ("nan" if wanted is None else str(wanted))
        assert sample["reason"] == own[id]["unscored"]
    before = [[turn["role"], turn["content"]] for turn in TURNS]
    assert log["samples"]["technology-0-en"]["input"] == [*before, ["user", "technology 0?"]]
    assert log["samples"]["gender-1-zh"]["reason"] == "malformed"
    summary = json.loads((evaluated / "summary.json").read_text())
    for lang, part in summary["languages"].items():
        assert log["results"]["judge"][f"{lang}_low"] == part["low"]
    # What Inspect makes of it is still the same run.
    for suffix in ("eval", "json"):
        again = read_run(tmp_path / f"rewritten.{suffix}", "x")
        assert again.records == read_run(evaluated / NAME, "x").records
        assert again.identity == read_run(evaluated / NAME, "x").identity


def test_inspect_s_viewer_shows_the_log(inspect, evaluated, tmp_path):
    with viewer(inspect, evaluated) as address, browser(tmp_path / "profile") as page:
        page.open(address)
        listed = shown(page, "12 Samples")
        assert "judge (11/12)" in listed
        assert "gender-0-en" in listed  # the list has only as many rows as are on the screen
        sample = f"{address}#/logs/{NAME}/samples/sample"
        page.open(f"{sample}/technology-0-en/1/messages")
        messages = shown(page, "SYSTEM", "Hello.", "Hi.", "technology 0?")
        assert messages.index("Hello.") < messages.index("technology 0?")
        page.open(f"{sample}/gender-0-en/1/scoring")
        scoring = shown(page, "all_checks", "recorded:judge.jsonl")
        assert "passed all" in scoring or "failed: " in scoring


def shown(page: Browser, *parts: str) -> str:
    """The page's text, once it has all of these parts."""

    def text() -> str:
        return page.run("return document.body.innerText")

    eventually(lambda: all(part in text() for part in parts))
    return text()


@contextmanager
def viewer(inspect: Path, folder: Path) -> Iterator[str]:
    """`inspect view` of a folder; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [inspect, "view", "--log-dir", folder, "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            address = f"http://127.0.0.1:{port}/"
            for _ in range(300):
                try:
                    urlopen(address).close()
                    break
                except URLError:
                    time.sleep(0.1)
            yield address
        finally:
            process.terminate()
