"""Our log in Inspect's format, read by our own reader; `tests/slow` has it read by Inspect."""

import json
import zipfile
from dataclasses import asdict, replace

from tests.evaluation.measures.conftest import questions, world, write_jsonl
from tests.scripts import ran
from vcjax.core.lineage import verify
from vcjax.evaluation.comparison.analysis import compare_runs
from vcjax.evaluation.comparison.logs.samples import LogOptions
from vcjax.evaluation.comparison.reading import read_run, read_runs
from vcjax.evaluation.inspect_log import NAME
from vcjax.road.evaluate import run_evaluation

__all__ = ["world"]  # a fixture

TURNS = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi."}]


def score(id):
    """A score from 0 to 5, or a reply that is no verdict."""
    return "Four, I think." if id == "gender-1-zh" else (len(id) + int(id.split("-")[1])) % 6


def entries(path):
    with zipfile.ZipFile(path) as archive:
        return {name: json.loads(archive.read(name)) for name in archive.namelist()}


def with_conversation(tmp_path):
    """Turns before the question of the first item."""
    items = questions(3)
    write_jsonl(tmp_path / "items.jsonl", [items[0] | {"conversation": TURNS}, *items[1:]])


def test_a_log_is_the_run_that_it_was_written_from(world, tmp_path):
    config = world(score)
    with_conversation(tmp_path)
    run_evaluation(config, tmp_path / "run", inspect_log=True)
    own, log = (read_run(tmp_path / each, "x") for each in ("run", f"run/{NAME}"))
    assert len(log.records) == 12
    for one, other in zip(own.records, log.records, strict=True):
        assert other == {**one, "checks": None}  # the scores of one judge are compared
    for name in ("scale", "held_out", "problems"):
        assert getattr(log, name) == getattr(own, name), name
    assert log.about == own.about | {"benchmark": "items"}
    comparison = compare_runs(read_runs([str(tmp_path / "run"), str(tmp_path / "run" / NAME)]))
    found = comparison["comparisons"][NAME]["all"]["judge"]
    assert (found["n"], found["difference"]) == (11, 0)
    assert {finding.status for finding in verify(tmp_path / "run")} == {"ok"}


def test_a_sample_has_what_was_said_and_how_it_was_scored(world, tmp_path):
    config = replace(world(score), persona=True)
    with_conversation(tmp_path)
    summary = run_evaluation(config, tmp_path / "run", inspect_log=True)
    parts = entries(tmp_path / "run" / NAME)
    first = parts["samples/technology-0-en_epoch_1.json"]
    asked = {"role": "user", "content": "technology 0?"}
    assert first["input"] == [*TURNS, asked]
    system, *messages, said = first["messages"]
    assert system["role"] == "system"
    assert messages == [*TURNS, asked]
    assert said["content"] == first["output"]["completion"] == "Answer to technology-0-en."
    assert first["target"] == "Weighs both sides."
    assert first["metadata"]["parallel_id"] == "technology-0"
    unscored = parts["samples/gender-1-zh_epoch_1.json"]["scores"]["judge"]
    assert unscored["value"] != unscored["value"]  # NaN
    assert unscored["reason"] == "malformed"
    rules = first["scores"]["all_checks"]
    assert rules["value"] == all(rules["metadata"].values())
    header = parts["header.json"]
    results = {each["name"]: each for each in header["results"]["scores"]}
    for lang, own in summary["languages"].items():
        assert results["judge"]["metrics"][f"{lang}_mean"]["value"] == own["mean"]
        rate = summary["all_checks"]["languages"][lang]["rate"]
        assert results["all_checks"]["metrics"][f"{lang}_mean"]["value"] == rate
    assert (results["judge"]["scored_samples"], results["judge"]["unscored_samples"]) == (11, 1)
    assert {each["id"] for each in parts["summaries.json"]} == set(
        header["eval"]["dataset"]["sample_ids"]
    )


def test_each_judge_of_a_panel_is_a_scorer(world, tmp_path):
    config = world(lambda id: 2)
    second = tmp_path / "second.jsonl"
    said = (tmp_path / "judge.jsonl").read_text()
    second.write_text(said.replace('\\"score\\": 2', '\\"score\\": 5'))
    config = replace(config, judge=f"{config.judge},recorded:{second}", judge_family="b,c")
    run_evaluation(config, tmp_path / "run", inspect_log=True)
    path = tmp_path / "run" / NAME

    def scores(**options):
        return {each["score"] for each in read_run(path, "x", LogOptions(**options)).records}

    assert scores() == {3.5}
    assert scores(metric="judge/recorded:judge.jsonl") == {2}
    assert scores(metric="judge/recorded:second.jsonl", scale=(0, 5)) == {5}


def test_without_a_judge_the_rules_are_the_metric(world, tmp_path):
    config = replace(world(score), judge="", judge_family="")
    run_evaluation(config, tmp_path / "run", inspect_log=True)
    own, log = (read_run(tmp_path / each, "x") for each in ("run", f"run/{NAME}"))
    passed = [all(record["checks"].values()) for record in own.records]
    assert [record["score"] for record in log.records] == passed
    assert log.scale == (0, 1)


def test_a_question_without_an_answer_is_an_error_and_unscored(world, tmp_path):
    config = world(score)
    lines = [json.loads(line) for line in (tmp_path / "model.jsonl").read_text().splitlines()]
    lines[0] |= {"text": "", "outcome": "timeout"}
    write_jsonl(tmp_path / "model.jsonl", lines)
    run_evaluation(config, tmp_path / "run", inspect_log=True)
    (sample,) = (
        each
        for name, each in entries(tmp_path / "run" / NAME).items()
        if name.startswith("samples/") and "error" in each
    )
    assert sample["error"]["message"] == "no answer: timeout"
    record = next(
        each
        for each in read_run(tmp_path / "run" / NAME, "x").records
        if each["id"] == sample["id"]
    )
    assert (record["score"], record["unscored"]) == (None, "no answer: timeout")


def test_a_finished_evaluation_gets_its_log_without_its_model(world, tmp_path, script_cache):
    config = world(score)
    run_evaluation(config, tmp_path / "run")
    assert not (tmp_path / "run" / NAME).exists()
    (tmp_path / "model.jsonl").unlink()
    given = {name: value for name, value in asdict(config).items() if isinstance(value, str)}
    flags = [f"--config.{name}={value}" for name, value in given.items() if value]
    command = [*flags, f"--workdir={tmp_path / 'run'}", "--inspect_log"]
    code, _, error = ran("evaluate", command, script_cache)
    assert code == 0, error
    assert len(read_run(tmp_path / "run" / NAME, "x").records) == 12
