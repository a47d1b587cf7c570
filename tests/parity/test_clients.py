"""Clients that others wrote, as they are, against our server: what they get is what OpenAI's gets.

PyRIT and Inspect come with eighty packages that nothing else here needs, so `make parity` has an
environment for them.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.capability.conftest import write_tasks
from tests.processes import ROOT
from tests.serve.servers import Server
from tests.text.test_tool_calls import TAGGED
from vcjax.weights.export import write_model

CLIENTS = ROOT / ".venv-clients" / "bin"
PROGRAMS = Path(__file__).parent / "clients"
QUESTION = {"role": "user", "content": "Why do people disagree?"}
BEFORE = [
    {"role": "system", "content": "You answer briefly."},
    {"role": "user", "content": "Who are you?"},
    {"role": "assistant", "content": "A model."},
]


@pytest.fixture(scope="module")
def server(tiny, script_cache, tmp_path_factory) -> Iterator[Server]:
    """Has a chat template with tools."""
    folder = tmp_path_factory.mktemp("tagged")
    model = replace(tiny, tokenizer=tiny.tokenizer.with_template(TAGGED))
    write_model(folder, model, form="hf")
    server = Server.start(folder, script_cache, ["--slots=4"]).wait_ready()
    yield server
    assert server.stop() == 0


def ran(command: Sequence[str | Path], folder: Path, **environment: str) -> str:
    """What a client prints; it sees nothing of this repository."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def answer(server: Server, messages: list[dict[str, str]], **settings: Any) -> str:
    given: Any = {"messages": messages, **settings}
    answer = server.client().chat.completions.create(model="tiny", **given)
    return answer.choices[0].message.content or ""


def test_pyrit_attacks_it(server, tmp_path):
    out = ran([CLIENTS / "python", PROGRAMS / "pyrit_attack.py", server.address], tmp_path)
    settings = {"temperature": 0.0, "max_tokens": 24, "seed": 7}
    asked = [[QUESTION], [*BEFORE, QUESTION]]
    assert json.loads(out.splitlines()[-1]) == [answer(server, each, **settings) for each in asked]


@pytest.mark.parametrize("streaming", ["false", "true"])
def test_inspect_s_model_calls_a_tool(server, tmp_path, streaming):
    shutil.copy(PROGRAMS / "inspect_tools.py", tmp_path)  # it takes no absolute path
    command = [CLIENTS / "inspect", "eval", "inspect_tools.py", "--model", "openai/tiny"]
    # Of a model that it doesn't know it expects OpenAI's newer API.
    command += ["-M", "responses_api=false", "-M", f"streaming={streaming}", "--seed", "1"]
    command += ["--max-tokens", "200", "--display", "none", "--log-format", "json"]
    ran(
        [*command, "--log-dir", tmp_path / "logs"],
        tmp_path,
        OPENAI_BASE_URL=server.address,
        OPENAI_API_KEY="none",
    )
    (path,) = (tmp_path / "logs").glob("*.json")
    log = json.loads(path.read_text(encoding="utf-8"))
    assert log["status"] == "success", log.get("error")
    (sample,) = log["samples"]
    assert sample["scores"]["was_called"]["value"] is True
    (call,) = sample["messages"][1]["tool_calls"]
    assert call["function"] == "stock"
    assert sample["messages"][2]["content"] == f"{call['arguments']['kind']} apples"


def test_lm_eval_measures_it(server, tmp_path):
    tasks = write_tasks(tmp_path / "tasks", 3)
    given = f"model=tiny,base_url={server.address}/chat/completions,num_concurrent=3"
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "local-chat-completions"]
    command += ["--model_args", given, "--tasks", "guesses", "--include_path", tasks]
    command += ["--apply_chat_template", "--log_samples"]
    ran(
        [*command, "--gen_kwargs", "temperature=0", "--output_path", tmp_path / "out"],
        tmp_path,
        HF_DATASETS_CACHE=str(tmp_path / "datasets"),
        OPENAI_API_KEY="none",
    )
    (path,) = (tmp_path / "out").rglob("samples_guesses_*.jsonl")
    samples = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(samples) == 3
    for sample in samples:
        asked = [{"role": "user", "content": sample["doc"]["question"]}]
        expected = answer(server, asked, temperature=0.0, max_tokens=12, stop=["\n"])
        assert {each for repeat in sample["resps"] for each in repeat} == {expected}
