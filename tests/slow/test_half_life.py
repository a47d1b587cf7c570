"""A pressure experiment whose arms are trained further, on the tiny model."""

from tests.report.bilingual import assert_translated, both
from tests.road.conftest import facts_file, road
from tests.road.test_pressure import TINY_NAMES, config_of, settings
from vcjax.core.files import read_jsonl
from vcjax.core.lineage import verify
from vcjax.report.pressure.report import write_pressure_report
from vcjax.report.pressure.verdict import verdict_lines
from vcjax.road.pressure.run import measure_pressure

__all__ = ["facts_file", "road", "settings"]  # fixtures

ARMS = {
    "base": {"data": "none"},
    "clean": {"data": "clean"},
    "adversarial": {"data": "adversarial", "seeds": 1},
}


def test_a_finished_experiment_is_extended_by_half_lives(settings, road, tmp_path):
    own = {**settings, "arms": ARMS, "contrasts": (), "answers": 0, "documents": ""}
    folder = tmp_path / "run"
    first = measure_pressure(config_of(own), folder)
    assert "half_life" not in first
    life = {
        "steps": 8,
        "pairs": 4,
        "learning_rate": 0.3,
        "conversations": road["conversations"],
    }
    summary = measure_pressure(config_of(own, half_life=life), folder)
    found = summary["half_life"]
    assert found["steps"] == [0, 1, 2, 4, 8]
    assert list(found["arms"]) == ["clean", "adversarial"]
    assert set(found["arms"]["adversarial"]["en"]["opposing"]) == {"base", "clean"}
    assert set(found["arms"]["clean"]["en"]["opposing"]) == {"base"}
    for name, languages in found["arms"].items():
        rates = summary["arms"][name]["languages"]["en"]["rates"]["flips"]
        base = summary["arms"]["base"]["languages"]["en"]["rates"]["flips"]
        for over in languages["en"].values():
            gains = over["base"]["gains"]
            assert abs(gains[0]["value"] - (base["value"] - rates["value"])) < 1e-9
            assert len(gains) == 5
    # The opposing examples are facts of the training part, answered as the pressure wants.
    examples = folder / "adversarial" / "seed0" / "half_life" / "opposing" / "examples"
    records = [record for _, record in read_jsonl(examples / "pairs.jsonl")]
    assert len(records) == 4
    assert all("/false/" in record["id"] for record in records)
    preferences = {
        step: [
            record["preference"]
            for _, record in read_jsonl(examples.with_name(f"step{step}") / "preferences.jsonl")
        ]
        for step in (1, 8)
    }
    # A learning rate that high teaches the model to give in.
    mean = {step: sum(own) / len(own) for step, own in preferences.items()}
    assert mean[8] != mean[1]
    assert len(verdict_lines(summary)) == 6
    assert "How long it lasts" in (folder / "report.html").read_text()
    assert_translated(*both(tmp_path, write_pressure_report, summary=summary), TINY_NAMES)
    assert {each.status for each in verify(folder)} == {"ok"}
    assert measure_pressure(config_of(own, half_life=life), folder) == summary
