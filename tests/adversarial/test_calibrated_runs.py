"""A run with a calibrated Critic: agreement, corrected rates, the gate before the export."""

import json
from dataclasses import replace

import pytest

from vcjax.adversarial.run import synthesize
from vcjax.adversarial.summary import shortfall
from vcjax.core.errors import UserError
from vcjax.core.files import read_json

ANSWER = "Some people like it as it is, and others would rather change it for good reasons."


@pytest.fixture
def labels(tmp_path):
    """A function that writes a calibration file: how often people and the Critic accept."""

    def written(both=0, people=0, critics=0, neither=0, **more):
        pairs = [("accept", "accept")] * both + [("accept", "reject")] * people
        pairs += [("reject", "accept")] * critics + [("reject", "reject")] * neither
        path = tmp_path / "labels.jsonl"
        with path.open("w", encoding="utf-8") as stream:
            for n, (gold, said) in enumerate(pairs):
                record = {"id": f"{n}", "lang": "en", "gold": gold, "critic": said, **more}
                stream.write(json.dumps(record) + "\n")
        return str(path)

    return written


@pytest.fixture
def config(transcripts):
    """Eight attempts in one cell; the Critic accepts every second answer."""

    def verdict(n):
        return json.dumps({"reason": "So.", "score": 5 * (n % 2)})

    return transcripts(8, ANSWER, verdict)


def test_a_critic_that_agrees_has_its_pairs_exported_and_its_rates_corrected(
    config, labels, tmp_path
):
    file = labels(both=45, people=5, critics=5, neither=45)
    summary = synthesize(replace(config, calibration=file), tmp_path / "run")
    assert summary["exported"]
    assert shortfall(summary) == ""
    assert summary["calibration"]["gate"]["met"]
    rates = summary["calibration"]["accept_rates"]["overall"]
    assert (rates["seen"]["k"], rates["seen"]["n"]) == (4, 8)
    assert rates["corrected"]["low"] < 0.5 < rates["corrected"]["high"]
    assert "Cohen's kappa 0.80" in (tmp_path / "run" / "README.md").read_text("utf-8")


def test_below_the_gate_nothing_is_exported_unless_it_is_forced(config, labels, tmp_path):
    given = replace(config, calibration=labels(both=25, people=25, critics=25, neither=25))
    folder = tmp_path / "run"
    summary = synthesize(given, folder)
    assert not summary["exported"]
    assert "the pairs aren't exported: kappa is 0.00" in shortfall(summary)
    assert summary["accepted"] == 4
    assert set(summary["records"]) == {"rejected.jsonl"}
    assert not (folder / "accepted.jsonl").exists()
    assert "is not shown (kappa is 0.00" in (folder / "README.md").read_text("utf-8")

    forced = synthesize(replace(given, force_export=True), folder)
    assert forced["exported"]
    assert forced["records"]["accepted.jsonl"] == 4
    assert "; exported all the same.**" in (folder / "README.md").read_text("utf-8")
    assert forced["attempts"] == summary["attempts"]


def test_too_few_labels_show_nothing(config, labels, tmp_path):
    summary = synthesize(replace(config, calibration=labels(both=9, neither=9)), tmp_path / "run")
    assert "9 labels of one kind, and 20 of each are needed" in shortfall(summary)


def test_a_bad_calibration_is_reported_before_anything_is_written(config, labels, tmp_path):
    path = labels(both=2, gold="maybe")
    with pytest.raises(UserError, match=r"labels\.jsonl:1: gold: 'maybe' is neither"):
        synthesize(replace(config, calibration=path), tmp_path / "run")
    path = labels(both=1, critic=None, question="Why?", answer="So.")
    given = replace(config, critic="", critic_family="", calibration=path)
    with pytest.raises(UserError, match="0 needs a verdict, and there is no critic"):
        synthesize(given, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_canaries_are_planted_in_the_run_s_own_answers(config, tmp_path):
    given = replace(config, canaries=2)
    summary = synthesize(given, tmp_path / "run")
    found = summary["canaries"]
    assert found["n"] == 2
    assert found["overall"]["score"]["valid"]["rate"] == 1
    assert found["overall"]["score"]["raised"]["k"] == 0
    assert "Canary “score”" in (tmp_path / "run" / "README.md").read_text("utf-8")
    calls = {row["role"]: row["calls"] for row in summary["usage"]}
    assert calls["critic"] == 8 + 2 * 7
    assert read_json(tmp_path / "run" / "summary.json")["attempts"] == 8


def test_one_of_several_critics_of_the_actor_s_family_is_refused(config, tmp_path):
    two = replace(config, critic=f"{config.critic},{config.critic}", critic_family="c,B")
    with pytest.raises(UserError, match="critic: of the same family as the model it grades, 'b'"):
        synthesize(two, tmp_path / "run")
    with pytest.raises(UserError, match=r"config\.critic_family: 1 families for 2 critics"):
        synthesize(replace(two, critic_family="c"), tmp_path / "run")


def test_several_critics_vote(config, tmp_path):
    two = replace(config, critic=f"{config.critic},{config.critic}", critic_family="c,d")
    summary = synthesize(replace(two, critic_votes=2), tmp_path / "run")
    assert summary["families"]["critic2"] == "d"
    calls = sum(row["calls"] for row in summary["usage"] if row["role"] == "critic")
    assert calls == 8 * 4
    assert summary["accepted"] == 4
