"""`launch.compare` on finished evaluations, without a model."""

import json
import subprocess
import sys

import pytest

from tests.evaluation.comparison.conftest import questions, workdir  # noqa: F401  (a fixture)
from tests.evaluation.comparison.test_analysis import noisy
from tests.evaluation.comparison.test_logs import LOGS
from tests.processes import ROOT
from tests.scripts import ran
from vcjax.core.lineage import verify

GATE = """
from ml_collections import ConfigDict


def get_config():
    return ConfigDict({{"bounds": ("{}",)}})
"""
IMPORTED = """
import runpy, sys
sys.argv = ["compare", *{arguments}]
try:
    runpy.run_module("launch.compare", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
heavy = {{"inspect_ai", "jax", "jaxlib", "flax", "optax", "orbax", "torch", "transformers"}}
print(sorted(heavy & {{name.partition(".")[0] for name in sys.modules}}))
"""


@pytest.fixture
def runs(workdir):  # noqa: F811
    items = questions(4)
    return workdir("before", noisy(1), items), workdir("after", noisy(2, 2.0), items, seed=1)


def test_it_leaves_numbers_a_report_and_lineage_and_does_nothing_twice(runs, tmp_path):
    out = tmp_path / "out"
    arguments = [f"--runs={runs[0]},{runs[1]}", f"--workdir={out}"]
    code, printed, error = ran("compare", arguments, tmp_path)
    assert code == 0, error
    assert "after, Chinese: mean score: higher (+" in printed
    follows = "; next: --gate=FILE with bounds, as configs/gates/release.py"
    assert error.splitlines()[-1] == f"look at {out}/report.html{follows}"
    comparison = json.loads((out / "comparison.json").read_text())
    record = comparison["comparisons"]["after"]["languages"]["zh"]["judge"]
    assert record["reading"] == "higher"
    report = (out / "report.html").read_text()
    assert "after, Chinese, judge: higher" in report
    assert "VC-LLM" not in report  # the questions are on none of the paper's domains
    assert [finding.status for finding in verify(out)] == ["ok"] * 3

    before = (out / "report.html").stat().st_mtime_ns
    code, printed, _ = ran("compare", arguments, tmp_path)
    assert (code, "already finished" in printed) == (0, True)
    assert (out / "report.html").stat().st_mtime_ns == before

    numbers = (out / "comparison.json").read_bytes()
    code, _, error = ran("compare", [*arguments, "--language=zh"], tmp_path)
    assert code == 0, error
    assert "after，中文，评审：更高" in (out / "report.html").read_text(encoding="utf-8")
    assert (out / "comparison.json").read_bytes() == numbers

    with (runs[1] / "scores.jsonl").open("a") as stream:
        stream.write("\n")
    code, printed, _ = ran("compare", arguments, tmp_path)
    assert (code, "has changed since" in printed) == (0, True)
    assert (out / "report.html").stat().st_mtime_ns > before


def test_the_report_names_what_is_wrong_with_the_runs_and_compares_the_rest(workdir, tmp_path):  # noqa: F811
    """Two records of one question, an answer without text, scores that are none, a question
    without its parallel; and a judge that always says 5."""
    items = questions(4)

    def flawed(answers, scores):
        answers[0]["answer"] = ""
        scores[1]["score"], scores[2]["score"] = float("nan"), 7
        gone = answers[5]["id"]
        return [each for each in [*answers, answers[7]] if each["id"] != gone], scores

    runs = [
        workdir("before", noisy(1), items, edit=flawed),
        workdir("after", lambda item: 5, items, seed=1),
    ]
    arguments = [f"--runs={runs[0]},{runs[1]}", f"--workdir={tmp_path / 'out'}"]
    code, printed, error = ran("compare", arguments, tmp_path)
    assert code == 0, error
    report = (tmp_path / "out" / "report.html").read_text()
    assert "What is wrong with before" in report
    assert "What is wrong with after" in report
    for problem in (
        "before: 1 question with a second record; the last one counts",
        "before: 1 question with an empty answer, scored as it is",
        "before: 1 question with a score that is NaN, counted as unscored",
        "before: 1 question with a score that is outside 0 to 5, counted as unscored",
        "before: 1 question without a version in another language",
        f"after: The judge gave all {len(items)} answers the score 5: a constant judge",
    ):
        assert problem in printed
        assert problem.partition(": ")[2] in report
    comparison = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert comparison["questions"]["compared"] == len(items) - 1
    found = comparison["comparisons"]["after"]["all"]["judge"]
    assert found["n"] == len(items) - 3  # without the two that have no score


def test_it_imports_neither_jax_nor_a_model(tmp_path):
    """Nor the tool whose logs it reads."""
    logs = ",".join(str(LOGS / f"inspect/{name}.eval") for name in ("baseline", "better"))
    arguments = [f"--runs={logs}", "--metric=match", f"--workdir={tmp_path / 'out'}"]
    program = IMPORTED.format(arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runs=absent,absent"], "--runs: absent: no such file or folder"),
        (["--runs={0}"], "--runs: name at least two runs"),
        (["--runs={0},{1}", "--names=a"], "--names: 1 names for 2 runs"),
        (["--runs={0},{1}", "--charter=universl"], "did you mean 'universal'?"),
        (["--runs={0},{1}", "--scale=5,0"], "--scale: '5,0' is not LOW,HIGH; e.g. 0,5"),
        (["--runs={0},{1}", "--confidence=95"], "--confidence: 95.0 is not between 0 and 1"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(runs, tmp_path, arguments, message):
    filled = [each.format(*runs) for each in arguments]
    code, _, error = ran("compare", [*filled, f"--workdir={tmp_path / 'out'}"], tmp_path)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_gate_that_is_broken_ends_with_code_3_and_the_report_is_there(runs, tmp_path):
    (kept := tmp_path / "kept.py").write_text(GATE.format("difference.judge.zh.low >= -0.2"))
    (broken := tmp_path / "broken.py").write_text(GATE.format("difference.judge.zh.low >= 4"))
    (unknown := tmp_path / "unknown.py").write_text(GATE.format("difference.judge.cn.low >= 0"))
    arguments = [f"--runs={runs[0]},{runs[1]}", f"--workdir={tmp_path / 'out'}"]
    assert ran("compare", [*arguments, f"--gate={kept}"], tmp_path)[0] == 0
    code, _, error = ran("compare", [*arguments, f"--gate={broken}"], tmp_path)
    assert code == 3
    assert "not met: 1 bound(s) of the gate\nafter: difference.judge.zh.low >= 4: it is" in error
    code, _, error = ran("compare", [*arguments, f"--gate={unknown}"], tmp_path)
    assert code == 2
    assert "close ones: difference.judge" in error
    code, _, error = ran("compare", [*arguments, "--gate=absent.py"], tmp_path)
    assert (code, "--gate: " in error, error.count("\n")) == (2, True, 1)
    code, _, error = ran("compare", [*arguments, "--gate=configs/gates/release.py"], tmp_path)
    assert code in (0, 3), error
