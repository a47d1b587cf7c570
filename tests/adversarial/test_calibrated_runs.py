"""A run with a calibrated Critic: agreement, corrected rates, the gate before the export."""

import json
from dataclasses import replace
from pathlib import Path

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
    assert calls["critic"] == 8 + 8 + 2 * 7  # style and topic, verdicts, canaries
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
    assert calls == 8 + 8 * 4  # of style and topic one asks, of answers each
    assert summary["accepted"] == 4


REFUSAL = "I'm sorry, but I can't help with that."


def texts(tmp_path, good=30, bad=30, refused=0, refused_right=0):
    """A file of good answers and bad ones that the Critic decides right, and of refusals that
    people reject, of which it decides some right."""
    path, records = tmp_path / "texts.jsonl", []
    for n in range(good + bad + refused):
        gold = "accept" if n < good else "reject"
        right = n < good + bad + refused_right
        other = {"accept": "reject", "reject": "accept"}[gold]
        text = REFUSAL if n >= good + bad else f"{ANSWER} Case {n} of the town shows it."
        about = {"id": str(n), "lang": "en", "question": "Why?", "answer": text}
        records.append({**about, "gold": gold, "critic": gold if right else other})
    path.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    return str(path)


def verdict(n):
    return json.dumps({"reason": "So.", "score": 5 * (n % 2)})


def test_a_critic_that_agrees_with_people_decides_on_what_filters_reject(transcripts, tmp_path):
    config = transcripts(8, REFUSAL, verdict)
    untrusted = synthesize(config, tmp_path / "untrusted")
    assert untrusted["reasons"]["rejected"] == {"actor: refusal": 8}
    assert untrusted["filters"]["answers"] == {
        "actor: refusal": {"rejected": 8, "confirmed": 0, "overruled": 0}
    }
    given = replace(config, calibration=texts(tmp_path, refused=5, refused_right=5))
    summary = synthesize(given, tmp_path / "run")
    assert summary["calibration"]["trusted"]
    assert summary["calibration"]["n"] == 65
    assert summary["accepted"] == 4
    assert summary["filters"]["critic_decides"]
    assert summary["filters"]["answers"] == {
        "actor: refusal": {"rejected": 0, "confirmed": 4, "overruled": 4}
    }
    assert "4 confirmed, 4 overruled" in (tmp_path / "run" / "README.md").read_text("utf-8")


def test_answers_that_filters_reject_do_not_make_a_critic_s_agreement_better(transcripts, tmp_path):
    # Right on all refusals and half of the rest: kappa was 0.5 and passed, but it is 0.
    config = transcripts(2, ANSWER, verdict)
    file = tmp_path / "half.jsonl"
    whole = Path(texts(tmp_path, refused=60, refused_right=60)).read_text(encoding="utf-8")
    known = [json.loads(line) for line in whole.splitlines()]
    for n, record in enumerate(known):
        if n < 60 and n % 2:
            record["critic"] = {"accept": "reject", "reject": "accept"}[record["gold"]]
    file.write_text("".join(json.dumps(each) + "\n" for each in known), encoding="utf-8")
    summary = synthesize(replace(config, calibration=str(file)), tmp_path / "run")
    found = summary["calibration"]
    assert (found["n"], found["trusted"]) == (60, False)
    assert found["filtered"] == {"actor: refusal": {"n": 60, "accept": 0, "critic_right": 60}}
    assert found["agreement"]["kappa"]["value"] == pytest.approx(0)
    assert found["specificity"]["overall"]["n"] == 30
    assert not summary["exported"]


def test_a_critic_that_is_worse_on_refusals_than_the_filter_does_not_overrule_it(
    transcripts, tmp_path
):
    config = transcripts(4, REFUSAL, verdict)
    given = replace(config, calibration=texts(tmp_path, refused=5, refused_right=4))
    summary = synthesize(given, tmp_path / "run")
    assert summary["calibration"]["gate"]["met"]
    assert not summary["calibration"]["trusted"]
    assert summary["reasons"]["rejected"] == {"actor: refusal": 4}


def test_a_critic_that_no_refusal_was_labelled_for_does_not_overrule_the_filter(
    transcripts, tmp_path
):
    given = replace(transcripts(4, REFUSAL, verdict), calibration=texts(tmp_path))
    summary = synthesize(given, tmp_path / "run")
    assert summary["calibration"]["gate"]["met"]
    assert not summary["calibration"]["trusted"]
    assert summary["reasons"]["rejected"] == {"actor: refusal": 4}


def test_a_filter_can_be_switched_off_by_the_config(transcripts, tmp_path):
    config = replace(transcripts(4, REFUSAL, verdict), filters="lecture,truncated")
    summary = synthesize(config, tmp_path / "run")
    assert summary["filters"]["asked"] == ["lecture", "truncated"]
    assert summary["accepted"] == 2
    with pytest.raises(UserError, match=r"config\.filters: 'lectures' is none of"):
        synthesize(replace(config, filters="lectures"), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_labels_that_no_critic_would_see_are_refused(transcripts, tmp_path):
    config = transcripts(2, ANSWER, verdict)
    file = texts(tmp_path, good=0, bad=0, refused=3, refused_right=3)
    with pytest.raises(UserError, match="rules reject all of its answers before a critic"):
        synthesize(replace(config, calibration=file), tmp_path / "run")
    assert not (tmp_path / "run").exists()
