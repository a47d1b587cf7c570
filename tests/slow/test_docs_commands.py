"""The commands of the README and the site, run on the tiny model in the order of the pages.

Each runs as it stands there, but for the shipped model's name, which is the tiny one's, and the
sizes of SMALL, which come after it. What a fence marks as needing hardware or other programs isn't
run here; `tests/docs` has checked it. The answers of the tiny model are noise, so a gate may close:
those ends are told by their line.
"""

import gzip
import io
import shutil
import signal
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.docs.files import write_files
from tests.docs.pages import blocks, commands, pages
from tests.processes import ROOT, started
from tests.scripts import ran

_ENGINE = ("slots=4", "attempts=4", "wave=4", "attacker_tokens=8", "actor_tokens=8")
_STAGE = ("steps=2", "warmup_steps=1", "batch_size=2", "checkpoint_every=2")
SMALL = {
    "train": [f"config.{each}" for each in _STAGE],
    "prepare": ["config.length=64", "config.workers=1"],
    "synthesize": [
        *(f"config.{each}" for each in _ENGINE),
        "config.critic_tokens=8",
    ],
    "evaluate": ["config.max_tokens=8", "config.slots=8", "config.model_family=tiny"],
    "demo": [
        *(f"config.{stage}.{each}" for stage in ("cpt", "sft", "adversarial") for each in _STAGE),
        *(f"config.synthesis.{each}" for each in (*_ENGINE, "critic_tokens=8")),
        "config.evaluation.max_tokens=8",
        "config.evaluation.judge_tokens=8",
        "config.pressure.most_facts=40",
        "config.pressure.pairs=8",
        "config.pressure.control_facts=4",
        "config.family=tiny",
    ],
    "plan": ["compile=False"],
}
ENDS = {
    "demo": ("attempts was accepted",),
    "synthesize": ("the pairs aren't exported",),
    "evaluate": ("bound(s) of the gate",),
    "compare": ("bound(s) of the gate",),
}
"""What a script may say where it ends with exit code 3 on a model whose answers are noise."""
SERVERS = ("serve", "review")


def _commands() -> list[tuple[str, list[str]]]:
    """All commands to run, each once: of the guides as of the page in the other language."""
    found: dict[tuple[str, ...], str] = {}
    for page in pages():
        for block in blocks(page):
            if block.language in ("bash", "console") and not block.marks:
                for words in commands(block):
                    if words[0] == "python":
                        found.setdefault(tuple(words[2:]), block.where)
    return [(where, list(words)) for words, where in found.items()]


@pytest.fixture(scope="module")
def reader(tmp_path_factory, tiny_folder) -> Path:
    """The folder of a reader who has copied every file, has data of his own and trained models."""
    folder = tmp_path_factory.mktemp("reader")
    write_files(folder)
    for model in ("runs/sft", "runs/cpt", "runs/demo/export"):
        shutil.copytree(tiny_folder, folder / model)
    shutil.copy(folder / "messages.jsonl", folder / "chats.jsonl")
    (folder / "documents.txt").write_text("A well-kept archive serves everyone.\n" * 3)
    (folder / "runs/synthesize").mkdir()
    shutil.copy(folder / "preferences.jsonl", folder / "runs/synthesize/preferences.jsonl")
    (folder / "texts").mkdir()
    with gzip.open(folder / "texts/a.jsonl.gz", "wb") as file:
        file.write((ROOT / "vcjax/data/demo/documents.jsonl").read_bytes())
    (folder / "books").mkdir()
    (folder / "books/one.txt").write_text("A book about how towns keep their records. " * 40)
    return folder


@pytest.mark.parametrize(("where", "words"), _commands(), ids=lambda each: str(each)[:60])
def test_a_command_of_the_pages_runs(where, words, reader, tiny_folder, script_cache):
    module, *arguments = words
    name = module.removeprefix("launch.")
    given = [each.replace("smollm2-135m-instruct", str(tiny_folder)) for each in arguments]
    if name in ("train", "prepare", "evaluate", "demo") and "config.model=" not in " ".join(given):
        given.append(f"--config.model={tiny_folder}")
    if name == "synthesize" and "rounds.py" not in " ".join(given):
        roles = [role for role in ("attacker", "actor") if f"config.{role}=" not in " ".join(given)]
        given += [f"--config.{role}={tiny_folder}" for role in roles]
        given += ["--config.attacker_family=tiny", "--config.actor_family=tiny"]
        if "--config.critic=" not in given:
            given += [f"--config.critic={tiny_folder}", "--config.critic_family=tiny"]
    given += [f"--{each}" for each in SMALL.get(name, ())]
    if name in SERVERS:
        _serve(name, given, script_cache)
        return
    with mock.patch.object(sys, "stdin", io.StringIO("")):
        code, out, error = ran(name, given, script_cache, reader)
    if code == 3 and any(line in error for line in ENDS.get(name, ())):
        return
    assert code == 0, f"{where}: exit code {code}\n{out[-2000:]}\n{error[-3000:]}"


def _serve(name: str, given: list[str], cache: Path) -> None:
    """Starts a server on any free port; it says where it is, and ends when it is told to."""
    given = [each for each in given if not each.startswith("--port")]
    process = started(name, [*given, "--port=0"], cache)
    try:
        assert process.stderr is not None
        assert any("http://" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) in (0, 143)
    finally:
        process.kill()
        process.communicate()


def test_the_python_of_the_reference_runs(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = (each for each in blocks(ROOT / "docs/reference/python.md") if each.language)
    code = block.text.replace("smollm2-135m-instruct", str(tiny_folder))
    names: dict[str, Any] = {}
    exec(compile(code, block.where, "exec"), names)
    assert names["logits"].shape[:2] == names["tokens"].shape
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_there_are_commands_to_run():
    assert len(_commands()) > 15
    assert (ROOT / "docs/start.md").is_file()
