"""The whole road on the tiny model: what its stages and its summary leave."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.processes import restored
from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.files import read_json
from vcjax.core.lineage import content_hash, read_lineage, verify
from vcjax.road.demo.config import DemoConfig
from vcjax.road.demo.run import FOLDERS, run_demo
from vcjax.train.logging import read_metrics
from vcjax.weights.load import load_model

KINDS = ("accepted", "rejected", "unscored", "blocked")


@pytest.fixture(scope="module")
def driven(road, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("driven") / "run"
    return workdir, run_demo(DemoConfig.from_dict(road), workdir)


def test_the_summary_is_what_the_stages_left(driven, road):
    workdir, summary = driven
    assert read_json(workdir / "summary.json") == summary
    assert set(summary["stages"]) == {"cpt", "sft", "adversarial"}
    for name, stage in summary["stages"].items():
        lines = read_metrics(workdir / name)
        assert (stage["first_loss"], stage["last_loss"]) == (lines[0]["loss"], lines[-1]["loss"])
        assert stage["steps"] == len(lines) == 3
        assert stage["tokens"] >= stage["loss_tokens"] > 0
    assert summary["same_family"] is True
    assert summary["charter"]["name"] == "small"
    assert set(summary["seconds"]) == set(FOLDERS)


def test_verdicts_add_up_and_accepted_pairs_were_trained_on(driven):
    workdir, summary = driven
    synthesis = summary["synthesis"]
    assert synthesis["attempts"] == sum(synthesis[kind] for kind in KINDS) == 6
    assert synthesis["accepted"] > 0
    for kind in KINDS:
        assert sum(cell[kind] for cell in synthesis["cells"]) == synthesis[kind]
    parents = read_lineage(workdir / "adversarial")["parents"]
    assert str(workdir / "synthesis" / "accepted.jsonl") in {
        parent["reference"] for parent in parents
    }


def test_the_export_is_the_trained_model(driven):
    workdir, summary = driven
    assert summary["export_max_abs_diff"] < 1e-4
    exported = load_model(str(workdir / "export"))
    assert exported.tokenizer is not None
    assert "small 1" in (workdir / "export" / "README.md").read_text("utf-8")


def test_before_and_after_are_compared_on_the_same_questions(driven):
    workdir, summary = driven
    evaluation = summary["evaluation"]
    for when in ("before", "after"):
        assert evaluation[when]["held_out"]["en"]["n"] == 1
        assert read_json(workdir / when / "summary.json") == evaluation[when]
    answers = [
        [json.loads(line)["id"] for line in (workdir / when / "answers.jsonl").open("rb")]
        for when in ("before", "after")
    ]
    assert sorted(answers[0]) == sorted(answers[1])
    assert len(answers[0]) == 6


def test_pressed_facts_are_trained_on_and_measured_before_and_after(driven):
    workdir, summary = driven
    parents = read_lineage(workdir / "adversarial")["parents"]
    pairs = str(workdir / "facts" / "pairs.jsonl")
    assert pairs in {parent["reference"] for parent in parents}
    measured = summary["pressure"]["languages"]["en"]
    assert set(measured["differences"]) == {
        *("flips", "contrarian", "corrections", "evidence", "forgotten")
    }
    trained = {
        json.loads(line)["id"].split("/")[0] for line in Path(pairs).read_text().splitlines()
    }
    asked = (workdir / "pressed_after" / "preferences.jsonl").read_text().splitlines()
    held_out = {json.loads(line)["id"].split("/")[0] for line in asked}
    assert trained
    assert not trained & held_out
    page = (workdir / "report.html").read_text("utf-8")
    assert page.index("Facts under pressure") < page.index("Verdict")


def test_the_report_stands_alone(driven):
    page = (driven[0] / "report.html").read_text("utf-8")
    links = re.findall(r"""\b(?:src|href)\s*=\s*["']([^"']*)""", page)
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    assert not re.search(r"""@import|url\(["']?(?!#|data:|["'])""", page)


def test_the_whole_lineage_holds(driven):
    findings = list(verify(driven[0]))
    assert {finding.status for finding in findings} == {"ok"}
    checked = "\n".join(finding.subject for finding in findings)
    assert all(str(driven[0] / name) in checked for name in FOLDERS)
    assert "charter" in checked


def test_a_finished_demo_reports_it_and_changes_nothing(driven, road, capsys):
    workdir, summary = driven
    files = {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
    assert run_demo(DemoConfig.from_dict(road), workdir) == summary
    assert f"{workdir}: already finished" in capsys.readouterr().out
    assert files == {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
    other = DemoConfig.from_dict({**road, "seed": 4})
    with pytest.raises(UserError, match=r"belongs to a run of another config \(.*seed: 3 -> 4"):
        run_demo(other, workdir)


def with_changes(values, changes):
    """The values, changed in their sections too."""
    return {
        **values,
        **{
            name: {**values[name], **each} if isinstance(each, dict) else each
            for name, each in changes.items()
        },
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": ""}, r"config\.family: declare the model family"),
        ({"charter": "univrsal"}, "did you mean 'universal'"),
        ({"documents": "no.jsonl"}, "no.jsonl"),
        ({"questions": "no.jsonl"}, "no.jsonl"),
        ({"model": "./no_model"}, "no_model"),
        ({"synthesis": {"languages": "english"}}, r"^config\.synthesis\.languages: charter .* no"),
    ],
)
def test_every_input_is_checked_before_the_first_stage(road, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        run_demo(DemoConfig.from_dict(with_changes(road, changes)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_road_on_which_nothing_was_accepted_ends_at_a_gate(road, tmp_path):
    # Three tokens have no verdict: every attempt is unscored.
    values = {**road, "synthesis": {**road["synthesis"], "critic_tokens": 3, "attempts": 2}}
    config = DemoConfig.from_dict(values)
    config = replace(config, cpt=replace(config.cpt, steps=1))
    with pytest.raises(GateNotMet, match="none of 2 attempts was accepted"):
        run_demo(config, tmp_path / "run")
    assert not (tmp_path / "run" / "report.html").exists()
    # What it advises continues with the training that is there.
    trained = content_hash(tmp_path / "run" / "sft")
    more = replace(config, synthesis=replace(config.synthesis, attempts=4))
    with pytest.raises(GateNotMet, match="none of 4 attempts was accepted"):
        run_demo(more, tmp_path / "run")
    assert content_hash(tmp_path / "run" / "sft") == trained
    with pytest.raises(UserError, match=r"synthesis\.attempts: 4 -> 2"):
        run_demo(config, tmp_path / "run")


def test_more_attempts_on_a_finished_road_make_anew_what_was_made_of_them(
    driven, road, tmp_path, capsys
):
    more = DemoConfig.from_dict({**road, "synthesis": {**road["synthesis"], "attempts": 8}})
    with restored(driven[0], tmp_path / "spare") as workdir:
        begun = {name: content_hash(workdir / name) for name in FOLDERS}
        summary = run_demo(more, workdir)
        assert summary["synthesis"]["attempts"] == 8
        for name in ("model", "cpt", "sft", "before", "knowledge", "facts", "pressed_before"):
            assert content_hash(workdir / name) == begun[name]
        aside = {path.name for path in workdir.glob(".*.superseded")}
        superseded = ("adversarial", "after", "pressed_after", "export")
        assert aside == {f".{name}.superseded" for name in superseded}
        assert "adversarial: made anew" in capsys.readouterr().out
        assert content_hash(workdir / ".adversarial.superseded") == begun["adversarial"]
        assert {finding.status for finding in verify(workdir)} == {"ok"}
        assert run_demo(more, workdir) == summary
