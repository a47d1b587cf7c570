"""Logs that each tool wrote itself; `logs/README.md` has how."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from vcjax.core.errors import UserError
from vcjax.evaluation.comparison.analysis import compare_runs
from vcjax.evaluation.comparison.logs.samples import LogOptions, as_score
from vcjax.evaluation.comparison.reading import read_run, read_runs
from vcjax.stats.paired import mcnemar_exact

LOGS = Path(__file__).parent / "logs"


def run(path, **options):
    return read_run(LOGS / path, "run", LogOptions(**options))


def scores(found):
    return [record["score"] for record in found.records]


def compared(before, after, **options):
    references = [str(LOGS / path) for path in (before, after)]
    return compare_runs(read_runs(references, ["base", "better"], LogOptions(**options)))


@pytest.mark.parametrize(
    ("before", "after", "options", "n"),
    [
        ("inspect/baseline.eval", "inspect/better.eval", {"metric": "match"}, 16),
        ("inspect/baseline.json", "inspect/better.json", {"metric": "match"}, 7),
        ("lm_eval/baseline", "lm_eval/better", {"metric": "exact_match"}, 14),
        ("promptfoo/baseline.json", "promptfoo/better.json", {}, 14),
        ("pyrit/baseline.json", "pyrit/better.json", {}, 8),
    ],
)
def test_two_logs_of_a_tool_are_compared_sample_by_sample(before, after, options, n):
    sides = [run(path, **options) for path in (before, after)]
    comparison = compared(before, after, **options)
    (parts,) = comparison["comparisons"]["better"]["languages"].values()
    record = parts["judge"]
    assert record["n"] == comparison["questions"]["compared"] == n
    old, new = map(scores, sides)
    assert all(isinstance(score, bool) for score in old + new)
    assert record["difference"] == pytest.approx(np.mean(new) - np.mean(old))
    assert record["p"] == pytest.approx(mcnemar_exact(old, new))
    assert comparison["measures"] == ["judge"]
    if n >= 10:
        assert record["reading"] == "higher"
        assert record["detectable"] > 0


def test_the_means_are_the_tools_own():
    with zipfile.ZipFile(LOGS / "inspect/better.eval") as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {93}  # Zstandard
    log = json.loads((LOGS / "inspect/better.json").read_text())
    for each in log["results"]["scores"]:
        own = next(
            each["metrics"][name]["value"]
            for name in ("accuracy", "mean")
            if name in each["metrics"]
        )
        found = run("inspect/better.json", metric=each["name"])
        assert np.mean(scores(found)) == pytest.approx(own)
    for side in ("baseline", "better"):
        results = json.loads(next((LOGS / "lm_eval" / side).glob("results_*.json")).read_text())
        for task, metric in (
            ("sums_choice", "acc"),
            ("sums_choice", "acc_norm"),
            ("sums_free", "exact_match"),
        ):
            found = run(f"lm_eval/{side}", metric=metric)
            assert np.mean(scores(found)) == pytest.approx(
                results["results"][task][f"{metric},none"]
            )
            assert {record["domain"] for record in found.records} == {task}
        stats = json.loads((LOGS / f"promptfoo/{side}.json").read_text())["results"]["stats"]
        assert sum(scores(run(f"promptfoo/{side}.json"))) == stats["successes"]


def test_epochs_of_a_sample_are_one_question():
    single, double = (run(f"inspect/{name}.eval", metric="match") for name in ("better", "epochs"))
    assert [record["id"] for record in single.records] == [
        record["id"] for record in double.records
    ]
    assert [float(score) for score in scores(single)] == scores(double)


def test_a_field_of_the_metadata_is_the_domain_or_the_language():
    found = run("inspect/better.eval", metric="match", domain="topic")
    assert {record["domain"] for record in found.records} == {"sums", "products"}
    found = run("promptfoo/better.json", domain="topic", language="topic")
    assert {record["lang"] for record in found.records} == {"even", "odd"}
    with pytest.raises(UserError, match=r"no field 'topics'; did you mean 'topic'\?"):
        run("inspect/better.eval", metric="match", domain="topics")


def test_of_several_scores_one_must_be_named():
    with pytest.raises(
        UserError, match=r"--metric: .* has several scores; name one of match, brevity"
    ):
        run("inspect/better.eval")
    with pytest.raises(UserError, match=r"no score 'mach'; did you mean 'match'\?"):
        run("inspect/better.eval", metric="mach")
    assert run("inspect/better.eval", metric="brevity").scale == (0, 1)
    assert run("inspect/better.eval", metric="brevity", scale=(0.0, 2.0)).scale == (0, 2)


def test_of_several_providers_one_must_be_named(tmp_path):
    content = json.loads((LOGS / "promptfoo/better.json").read_text())
    other = json.loads((LOGS / "promptfoo/baseline.json").read_text())
    content["results"]["results"] += other["results"]["results"]
    (path := tmp_path / "both.json").write_text(json.dumps(content))
    with pytest.raises(
        UserError, match=r"several providers \(better, baseline\); name one, as .*#better"
    ):
        read_run(path, "x")
    runs = read_runs([f"{path}#baseline", f"{path}#better"])
    assert [each.name for each in runs] == ["baseline", "better"]
    comparison = compare_runs(runs)
    assert comparison["comparisons"]["better"]["all"]["judge"]["difference"] > 0
    with pytest.raises(UserError, match="no provider 'beter'; did you mean 'better'"):
        read_run(f"{path}#beter", "x")


def test_what_went_wrong_in_a_tool_is_unscored_and_named(tmp_path):
    content = json.loads((LOGS / "inspect/better.json").read_text())
    content["status"] = "error"
    content["samples"][0] |= {"scores": None, "error": {"message": "timed out"}}
    content["samples"][1]["scores"]["match"]["value"] = float("nan")
    (path := tmp_path / "log.json").write_text(json.dumps(content))
    found = read_run(path, "x", LogOptions(metric="match"))
    text = " | ".join(found.problems)
    for part in ("status of the run is 'error'", "score that is NaN", "error: timed out: 1"):
        assert part in text
    assert scores(found).count(None) == 2

    results = json.loads((LOGS / "promptfoo/better.json").read_text())
    results["results"]["results"][0] |= {"failureReason": 2, "error": "no answer"}
    (path := tmp_path / "results.json").write_text(json.dumps(results))
    assert "error: no answer" in " ".join(read_run(path, "x").problems)


def test_a_file_that_is_no_log_is_a_users_mistake(tmp_path):
    def wrong(name, content, message):
        (path := tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=message):
            read_run(path, "x")

    wrong("a.json", b'{"a": 1}', "is not a workdir of launch.evaluate, or a log of Inspect")
    wrong("b.json", b"{", r"b\.json:1: not JSON")
    whole = (LOGS / "inspect/better.eval").read_bytes()
    wrong("c.eval", whole[:20_000], "a damaged zip file")
    pieces = json.loads((LOGS / "pyrit/better.json").read_text())
    bare = json.dumps([{**piece, "scores": []} for piece in pieces]).encode()
    wrong("d.json", bare, "its messages have no scores; export them with PyRIT 0.14")
    with zipfile.ZipFile(tmp_path / "e.eval", "w") as archive:
        archive.writestr("_journal/start.json", "{}")
    with pytest.raises(UserError, match=r"no header\.json"):
        read_run(tmp_path / "e.eval", "x")
    with pytest.raises(UserError, match="is a folder, but not"):
        read_run(tmp_path, "x")
    shutil.copytree(LOGS / "lm_eval/better", tmp_path / "two")
    for file in (LOGS / "lm_eval/baseline").iterdir():
        shutil.copy(file, tmp_path / "two")
    with pytest.raises(UserError, match="has samples of 2 runs"):
        read_run(tmp_path / "two", "x")


def test_logged_values_become_numbers():
    values = ("C", "I", "P", "N", "true", "False", "0.5", True, 3, "good", None)
    found = [True, False, 0.5, False, True, False, 0.5, True, 3, "good", None]
    assert [as_score(value) for value in values] == found
