"""What scripts say in a terminal and in a log file beside their results."""

import ast
import os
import signal
import subprocess
import sys

import pytest

from tests.processes import ROOT
from tests.questions import benchmark_items, write_lines
from tests.scripts import ran
from vcjax.core import progress
from vcjax.core.errors import UserError
from vcjax.core.stores import short_name
from vcjax.roles.references import RoleSpec, families_of


@pytest.fixture
def evaluated(tiny_folder, small_charter, tmp_path, script_cache, monkeypatch):
    """Exit code, output and error of an evaluation without a judge, whose family isn't declared."""
    monkeypatch.setattr(progress, "LOG_PAUSE", 0.0)  # a line for every answer
    arguments = {
        "config.model": tiny_folder,
        "config.charter": small_charter(tmp_path / "charter.yaml"),
        "config.benchmark": write_lines(tmp_path / "benchmark.jsonl", benchmark_items()),
        "config.max_tokens": 4,
        "workdir": tmp_path / "run",
    }
    given = [f"--{name}={value}" for name, value in arguments.items()]
    return ran("evaluate", given, script_cache)


def test_an_evaluation_prints_its_table_and_how_far_it_is(evaluated, tmp_path, tiny_folder):
    code, out, error = evaluated
    assert code == 0, error
    head, *rows = out.splitlines()
    assert head.split()[:2] == ["questions", "unscored"]
    assert [row.split(",")[0].strip() for row in rows[:2]] == ["en", "zh"]
    assert any("held out" in row for row in rows)
    lines = error.splitlines()
    assert any(line.startswith("answers: 6 of 6 (100%), ") for line in lines)
    assert lines[-1].startswith(f"look at {tmp_path / 'run'}/report.html; next: ")
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert f"<title>Evaluation of {tiny_folder.name} by the charter" in page


def test_all_families_that_are_missing_are_told_at_once():
    specs = {
        "actor": RoleSpec("runs/sft"),
        "target": RoleSpec("smollm2-135m-instruct"),
        "critic": RoleSpec("mine"),
        "critic2": RoleSpec("other"),
    }
    with pytest.raises(UserError) as told:
        families_of(specs)
    assert str(told.value) == (
        "config.actor_family, config.critic_family: declare the model families of 'runs/sft' and "
        "'mine' and 'other', e.g. 'llama3'"
    )


def test_a_title_names_a_folder_and_not_the_way_to_it():
    assert short_name("/data/models/mine") == "mine"
    assert short_name("org/model") == "org/model"


def test_the_next_command_is_one_of_the_package_that_the_script_is_in():
    for path in (ROOT / "launch").glob("[!_]*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        texts = [
            each
            for part in tree.body[1:]
            for each in ast.walk(part)
            if isinstance(each, ast.Constant)
        ]
        assert ast.get_docstring(tree), path
        assert not [each.lineno for each in texts if "-m launch." in str(each.value)], path


def test_importing_what_reads_models_says_nothing():
    command = [sys.executable, "-c", "import vcjax.text.tokenizer"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout + ended.stderr == ""


def test_a_reader_who_has_enough_ends_a_script_without_a_word():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "launch.charter", "check", "universal", "--show_prompts"]
    ended = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, "")
