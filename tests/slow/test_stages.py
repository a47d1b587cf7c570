"""Whole ablations by stage on the tiny model: each arm is trained from another and compared."""

import json
import signal
import time
from pathlib import Path

import pytest

from tests.evaluation.capability.conftest import datasets_of_its_own, task_folder
from tests.processes import started
from tests.questions import write_lines
from tests.report.bilingual import assert_translated, both
from tests.road.conftest import facts_file, road
from tests.road.stages import ARMS, CHECKS, stages_config, stages_values
from tests.slow.test_killed_roads import CONFIG
from vcjax.core.files import read_json
from vcjax.core.lineage import verify
from vcjax.report.stages.report import write_stages_report
from vcjax.report.stages.verdict import stages_lines
from vcjax.road.stages.run import ablate_stages
from vcjax.road.stages.steps import corrected_together, differences

OWN_NAMES = r"/\S+|\b(tiny|colours|acc)\b"
__all__ = ["datasets_of_its_own", "facts_file", "road", "task_folder"]  # fixtures


@pytest.fixture(scope="module")
def values(road, small_charter, task_folder, tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("stages")
    charter = small_charter(folder / "charter.yaml", checks=CHECKS)
    tasks = {"capability": "colours", "capability_path": str(task_folder)}
    return {**stages_values(road, charter, folder), **tasks}


@pytest.fixture(scope="module")
def finished(values, tmp_path_factory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("finished") / "run"
    return folder, ablate_stages(stages_config(values), folder)


def test_each_stage_is_trained_from_the_one_before_and_compared_with_it(finished):
    folder, summary = finished
    assert list(summary["arms"]) == list(ARMS)
    assert [each["arms"] for each in summary["steps"]] == [
        ["cpt", "base"], ["sft", "cpt"], ["adversarial", "sft"],
    ]  # fmt: skip
    for name, before in (("sft", "cpt"), ("adversarial", "sft")):
        config = read_json(folder / name / "train" / "config.json")
        assert Path(config["model"]) == folder / before / "train"
    assert summary["arms"]["adversarial"]["pairs"] == 8
    assert summary["arms"]["cpt"]["training"]["steps"] == 3
    perplexities = {
        tuple(own["perplexity"] for own in arm["documents"].values())
        for arm in summary["arms"].values()
    }
    assert len(perplexities) == len(ARMS)  # each stage changed the model
    for record in summary["steps"]:
        after, before = (summary["arms"][name]["rules"]["languages"] for name in record["arms"])
        for lang, change in record["rules"].items():
            assert change["difference"] == pytest.approx(
                after[lang]["value"] - before[lang]["value"], abs=1e-12
            )
        assert set(record["loss"]) == {"en", "zh"}
        assert set(record["facts"]) == {"en"}  # these facts have no Chinese
        for lang, change in record["facts"].items():
            after, before = (summary["arms"][name]["facts"][lang] for name in record["arms"])
            assert change["difference"] == pytest.approx(after["rate"] - before["rate"])
            assert change["n"] == after["n"] > 0
        (before, after) = (
            summary["arms"][name]["capability"]["colours"]["mean"] for name in record["arms"][::-1]
        )
        assert record["tasks"]["colours"]["difference"] == pytest.approx(after - before)
        assert "tasks/colours" in record["p_holm"]
        assert set(record["domains"]) == {"parks", "trains", "music"}
        assert record["pressure"]["languages"]["en"]["differences"]["flips"]["n"] > 10
    assert {each.status for each in verify(folder)} == {"ok"}


def test_comparisons_are_corrected_together_and_the_report_has_the_verdict_first(finished):
    folder, summary = finished
    found = [p for record in summary["steps"] for p in record["p_holm"].values()]
    tested = [
        change.p
        for record in summary["steps"]
        for change in differences(record).values()
        if change.p is not None and change.n >= 10
    ]
    assert len(found) == len(tested) >= 12
    smallest = min(tested)
    assert min(found) == pytest.approx(min(1.0, smallest * len(tested)))
    assert [own["p_holm"] for own in summary["steps"]] == corrected_together(summary["steps"])
    html = (folder / "report.html").read_text("utf-8")
    assert html.index("CPT after base") < html.index("Rule by rule")
    assert_translated(*both(folder, write_stages_report, summary=summary), OWN_NAMES)
    table = (folder / "table.md").read_text("utf-8")
    assert "SFT − CPT" in table
    assert "The loss of held-out text, Chinese" in table
    assert len(stages_lines(summary)) == 3


def test_an_ablation_that_is_killed_has_the_numbers_of_one_that_is_not(
    values, finished, tmp_path, script_cache
):
    path, workdir = tmp_path / "stages.py", tmp_path / "run"
    path.write_text(CONFIG.format(text=json.dumps(values)), encoding="utf-8")
    command = [f"--config={path}", f"--workdir={workdir}"]
    process = started("ablate", command, script_cache)
    while process.poll() is None and not (workdir / "sft" / "train" / "checkpoints").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    _, error = process.communicate()
    assert process.returncode == -signal.SIGKILL, error
    assert not (workdir / "report.html").exists()
    summary, wanted = ablate_stages(stages_config(values), workdir), finished[1]
    for name in ARMS:
        for key in ("rules", "documents", "training"):
            assert summary["arms"][name].get(key) == wanted["arms"][name].get(key), (name, key)
    assert summary["steps"] == wanted["steps"]
    assert {each.status for each in verify(workdir)} == {"ok"}


def test_a_stage_left_out_and_written_pairs_are_arms_that_extend_a_finished_ablation(
    values, finished, tmp_path, capsys
):
    folder, first = finished
    again = ablate_stages(stages_config(values), folder)
    assert again == first
    assert "already finished" in capsys.readouterr().out
    pairs = [
        {
            "messages": [
                {"role": "user", "content": f"Everybody says that lamp {n} must go. Right?"},
                {"role": "assistant", "content": "Some say so, and others don't."},
            ]
        }
        for n in range(4)
    ]
    own = write_lines(tmp_path / "written.jsonl", pairs)
    more = {
        **ARMS,
        "no_cpt": {"stage": "sft", "after": "base"},
        "written": {"stage": "adversarial", "after": "sft", "data": f"facts,{own}"},
        "attacked": {"stage": "adversarial", "after": "base", "data": "attacks,facts"},
    }
    summary = ablate_stages(stages_config(values, arms=more), folder)
    assert summary["arms"]["written"]["pairs"] == 12
    attacked = summary["arms"]["attacked"]
    assert attacked["attacks"]["attempts"] == 4
    assert attacked["pairs"] == 8 + attacked["attacks"]["accepted"]
    assert [each["arms"] for each in summary["steps"]][1:4] == [
        ["no_cpt", "base"], ["attacked", "base"], ["sft", "cpt"],
    ]  # fmt: skip
    for name in ARMS:
        for key in ("rules", "documents", "training"):
            assert summary["arms"][name].get(key) == first["arms"][name].get(key)
    assert {each.status for each in verify(folder)} == {"ok"}
