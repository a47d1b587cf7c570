"""From tasks and a model to `capability.json`, through errors and kills."""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.capability.conftest import datasets_of_its_own, task_folder
from tests.scripts import ran
from vcjax.core.errors import UserError
from vcjax.core.files import read_json, read_jsonl
from vcjax.core.lineage import verify
from vcjax.evaluation.capability.run import CapabilityConfig, measure_capability, score_lines
from vcjax.road.pressure.capability import right_answers

__all__ = ["datasets_of_its_own", "task_folder"]  # fixtures


class WithoutTorch:
    """Finds modules as the finders before it do, but for PyTorch, installed or not."""

    def __init__(self, finders: Sequence[Any]) -> None:
        self.finders = finders

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name.partition(".")[0] == "torch":
            return None
        specs = (finder.find_spec(name, path, target) for finder in self.finders)
        return next((spec for spec in specs if spec is not None), None)

    def find_distributions(self, *arguments: Any) -> Iterator[Any]:
        for finder in self.finders:
            if hasattr(finder, "find_distributions"):
                yield from finder.find_distributions(*arguments)


@pytest.fixture(scope="module")
def config(tiny_folder, task_folder) -> CapabilityConfig:
    tasks = ("colours", "sayings", "guesses")
    return CapabilityConfig(str(tiny_folder), tasks, task_path=str(task_folder), slots=4)


@pytest.fixture(scope="module")
def run(config, tmp_path_factory) -> Path:
    """A finished run of all three, where PyTorch, installed or not, can't be imported."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.meta_path", [WithoutTorch(list(sys.meta_path))])
        assert measure_capability(config, workdir) == read_json(workdir / "capability.json")
    return workdir


@pytest.fixture(scope="module")
def questions(task_folder) -> list[str]:
    return [record["question"] for _, record in read_jsonl(task_folder / "data.jsonl")]


def test_a_run_leaves_scores_with_their_errors_and_a_lineage(run, questions):
    summary = read_json(run / "capability.json")
    assert {name: task["n"] for name, task in summary["tasks"].items()} == {
        "colours": 12,
        "sayings": 12,
        "guesses": 12,
    }
    colours = summary["tasks"]["colours"]
    assert (colours["n_total"], colours["num_fewshot"], colours["version"]) == (12, 0, 1.0)
    accuracy = colours["metrics"]["acc,none"]
    p = accuracy["value"]
    assert accuracy["stderr"] == pytest.approx(math.sqrt(p * (1 - p) / 11))
    assert accuracy["higher_is_better"] is True
    assert score_lines(summary)[0] == f"colours  acc,none  {p:.4f} ± {accuracy['stderr']:.4f}  n=12"
    assert [finding.status for finding in verify(run)] == ["ok"] * 4


def test_what_was_answered_gives_the_scores(run, questions):
    tasks = read_json(run / "capability.json")["tasks"]
    answers = [record for _, record in read_jsonl(run / "answers.jsonl")]
    assert len(answers) == 12 * 4 + len(set(questions)) + 12 * 2
    totals = {
        questions[record["document"]]: record["answer"]
        for record in answers
        if record["task"] == "sayings"
    }
    words = sum(len(question.split()) for question in questions)
    total = sum(totals[question] for question in questions)
    perplexity = tasks["sayings"]["metrics"]["word_perplexity,none"]
    assert perplexity["value"] == pytest.approx(math.exp(-total / words))
    assert perplexity["stderr"] is None  # which the harness doesn't estimate
    assert perplexity["higher_is_better"] is False


def test_a_workdir_is_one_runs(run, config, capsys):
    before = {path: path.read_bytes() for path in run.iterdir()}
    measure_capability(config, run)
    assert "already finished" in capsys.readouterr().out
    with pytest.raises(UserError, match="belongs to a run of another config"):
        measure_capability(replace(config, limit=2), run)
    assert {path: path.read_bytes() for path in run.iterdir()} == before


def test_a_group_has_the_score_that_its_tasks_have_together(config, tmp_path):
    summary = measure_capability(replace(config, tasks=("averaged",)), tmp_path / "run")
    own = summary["tasks"]["colours"]["metrics"]["acc,none"]
    assert summary["groups"]["averaged"]["metrics"] == {"acc,none": own}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ()}, "tasks: name at least one"),
        ({"limit": 0.0}, "limit: 0.0 is not above 0"),
        ({"limit": 2.5}, "limit: 2.5 is neither"),
        ({"num_fewshot": -1}, "num_fewshot: -1 is below 0"),
        ({"dtype": "float8"}, "dtype 'float8' is not supported"),
    ],
)
def test_a_setting_out_of_its_range_is_named(config, changes, message):
    with pytest.raises(UserError, match=message):
        replace(config, **changes)


def test_a_mistake_is_one_line_and_nothing_is_written(
    tiny_folder, task_folder, tmp_path, script_cache
):
    where = [f"--task_path={task_folder}", f"--workdir={tmp_path / 'run'}"]
    code, out, error = ran(
        "capability", [f"--model={tiny_folder}", "--tasks=colour", *where], script_cache
    )
    assert (code, out) == (2, "")
    (line,) = error.splitlines()
    assert line.startswith("error: tasks: no task 'colour'; close to it: colours")
    assert not (tmp_path / "run").exists()


def test_a_metric_is_the_mean_of_its_documents_whose_values_are_stored(run, questions):
    right = right_answers(run)
    assert set(right) == {"colours", "guesses"}  # a perplexity is of no single document
    assert set(right["colours"]) == {str(number) for number in range(len(questions))}
    for task, own in right.items():
        metric = next(iter(read_json(run / "capability.json")["tasks"][task]["metrics"].values()))
        assert sum(own.values()) / len(own) == pytest.approx(metric["value"])


def test_a_folder_that_is_no_checkout_is_not_complained_of(config, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    measure_capability(replace(config, tasks=("colours",)), tmp_path / "run")
    assert "fatal" not in capfd.readouterr().err
