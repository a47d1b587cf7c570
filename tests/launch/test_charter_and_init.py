"""`launch.charter` and `launch.init` from the command line."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from runpy import run_path

import pytest

from tests.processes import ROOT
from tests.scripts import ran
from vcjax.charter.load import load_charter
from vcjax.charter.review import review_charter
from vcjax.data.importers import read_records
from vcjax.evaluation.benchmark import load_benchmark
from vcjax.road.demo.config import DemoConfig
from vcjax.road.evaluate import EvaluationConfig
from vcjax.road.starter import write_starter
from vcjax.train.config import TrainConfig


def test_a_charter_with_problems_ends_with_all_of_them(small_charter, tmp_path, script_cache):
    path = small_charter(tmp_path / "charter.yaml")
    code, out, error = ran("charter", ["check", str(path)], script_cache)
    assert code == 3
    assert error == f"not met: {path}: 3 problems\n"
    assert all(line.startswith(f"{path}:") for line in out.splitlines())
    assert "accept_score: an answer that breaks a floor rule scores 0" in out


def test_a_good_charter_s_prompts_are_shown(script_cache):
    code, out, error = ran("charter", ["check", "universal", "--show_prompts"], script_cache)
    assert (code, error) == (0, "")
    titles = [line.split("(")[0] for line in out.splitlines() if line.startswith("--- ")]
    assert [title.split()[1].strip(",") for title in titles] == [
        "Attacker",
        "Actor",
        "Critic",
        "judge",
    ] * 2
    assert load_charter("universal").persona.get("zh") in out
    assert out.splitlines()[-1].startswith("universal: no problems: 6 principles, 4 of them")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["chekc", "universal"], "'chekc': no such verb; did you mean 'check'?"),
        (["check"], "name what to do and a file"),
        (["check", "univresal"], "did you mean 'universal'?"),
        (["check", "none.yaml"], "none.yaml: no such file"),
    ],
)
def test_a_mistake_is_one_line(arguments, says, script_cache):
    code, out, error = ran("charter", arguments, script_cache)
    assert (code, out) == (2, "")
    (line,) = error.splitlines()
    assert says in line


@pytest.fixture
def started(tmp_path, script_cache) -> Path:
    folder = tmp_path / "my values"
    code, out, error = ran("init", [str(folder)], script_cache)
    assert (code, error) == (0, "")
    assert str(folder / "charter.yaml") in out
    return folder


def test_a_folder_to_start_from_has_what_the_configs_name(started):
    charter = load_charter(str(started / "charter.yaml"))
    assert charter.name == "my values"
    assert review_charter(str(started / "charter.yaml")).problems == ()
    benchmark = load_benchmark(started / "benchmark.jsonl", charter)
    assert benchmark.held_out == {"monitoring"}
    assert {item.domain for item in benchmark.items} == {each.id for each in charter.subdomains()}
    questions = read_records(str(started / "questions.jsonl"), "questions").records
    trained = {each.id for each in charter.subdomains(include_held_out=False)}
    assert {question.domain for question in questions} == trained

    made = {
        path.stem: run_path(str(path))["get_config"]() for path in (started / "configs").iterdir()
    }
    classes = {"demo": DemoConfig, "evaluate": EvaluationConfig}
    assert set(made) == {"demo", "sft", "adversarial", "evaluate"}
    for name, config in made.items():
        assert set(config) == {each.name for each in fields(classes.get(name, TrainConfig))}
        assert config.charter == str(started / "charter.yaml")
    assert DemoConfig.from_dict(made["demo"].to_dict()).evaluation.benchmark == str(
        started / "benchmark.jsonl"
    )


def test_a_folder_with_anything_in_it_is_refused(started, script_cache):
    before = sorted(started.rglob("*"))
    for folder in (started, started / "charter.yaml"):
        code, out, error = ran("init", [str(folder)], script_cache)
        assert (code, out) == (2, "")
        assert error.startswith(f"error: {folder}: ")
        assert error.count("\n") == 1
    assert sorted(started.rglob("*")) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from vcjax.road.starter import write_starter

changes = {"open", "os.mkdir", "os.rename", "os.chmod", "os.remove", "os.rmdir"}

def start(folder, last):
    if os.fork() == 0:
        left = last
        def kill(event, arguments):
            nonlocal left
            if event in changes and str(arguments[0]).startswith(str(folder)):
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(kill)
        write_starter(folder, "python -m launch")
        os._exit(0)
    return os.waitstatus_to_exitcode(os.wait()[1])

folder, last = Path(sys.argv[1]), 1
while start(folder / str(last) / "mine", last) == -signal.SIGKILL:
    last += 1
"""
"""Starts `write_starter` in processes that are killed before their first, second, ... change of a
file, each in a folder named after it, until one isn't killed."""


def test_a_kill_leaves_whole_files_and_the_same_call_writes_the_rest(started, tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "killed")]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    *killed, last = sorted((tmp_path / "killed").iterdir(), key=lambda each: int(each.name))
    assert len(killed) > 15
    expected = _contents(last / "mine")
    assert {*expected} == {*_contents(started)}
    for each in killed:
        folder = each / "mine"
        texts = {name: text.replace(str(last), str(each)) for name, text in expected.items()}
        for name, text in _contents(folder).items():
            assert text == texts[name], name
        write_starter(folder, "python -m launch")
        assert _contents(folder) == texts
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def _contents(folder: Path) -> dict[str, str]:
    """The text of each file by its path, hidden folders left out."""
    return {
        str(path.relative_to(folder)): path.read_text("utf-8")
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
    }
