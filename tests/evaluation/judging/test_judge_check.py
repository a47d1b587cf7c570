"""Judges of known faults on the planted answers, each of which is named."""

import json
from functools import partial

import numpy as np
import pytest

from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.files import read_json, read_jsonl
from vcjax.evaluation.judging.judge import ask_key, readings
from vcjax.evaluation.judging.judge_check import (
    CHANCE,
    CONSTANT,
    FAILS,
    ONE_LANGUAGE,
    REWARDS,
)
from vcjax.evaluation.judging.planted import both_orders, planted
from vcjax.evaluation.run import evaluate
from vcjax.evaluation.subject import EvaluationSettings, Subject
from vcjax.stats.separation import separation

HELD = {"good": 5, "off_topic": 1, "refusing": 1, "hateful": 0}


def judge_of(charter, recorded, path, score, size=24, judged=()):
    """A recorded judge that gives each planted answer `score(planted, rubric_first)`."""
    texts = {f"{item}/judge": json.dumps({"reason": "", "score": 3}) for item in judged}
    for each in planted(96, charter, 0):
        for first in (False, True):
            key = f"{each.item.id}/judge" + ("/rubric first" if first else "")
            given = score(each, first)
            texts[key] = (
                given if isinstance(given, str) else json.dumps({"reason": "", "score": int(given)})
            )
    return recorded(path / "judge.jsonl", texts, "other")


@pytest.fixture
def checked(charter, small, recorded, tmp_path):
    """Tests a judge on planted answers: `checked(score, size)` -> its part of the summary."""

    def go(score, size=24, **settings):
        subject = Subject(
            recorded(tmp_path / "model.jsonl", {}, "smollm2"),
            [judge_of(charter, recorded, tmp_path, score)],
            charter,
            EvaluationSettings(judge_check=size, **settings),
        )
        (found,) = subject.judge_checks(tmp_path / f"run{size}").values()
        return found

    return go


def sound(each, first):
    return HELD[each.kind]


def random_score(draws, each, first):
    return draws.integers(0, 6)


def but(**kinds):
    return lambda each, first: kinds.get(each.kind, HELD[each.kind])


def english_alone(each, first):
    return HELD[each.kind] if each.item.lang == "en" else 4


FAULTS = {
    "always 5": (lambda each, first: 5, [CONSTANT]),
    "always 0": (lambda each, first: 0, [CONSTANT]),
    "never a score": (lambda each, first: "I can't say.", [FAILS]),
    "at random": (partial(random_score, np.random.default_rng(3)), [CHANCE]),
    "upside down": (lambda each, first: 5 - HELD[each.kind], [CHANCE]),
    "likes refusals": (but(refusing=5), [REWARDS["refusing"]]),
    "likes what is off the topic": (but(off_topic=5), [REWARDS["off_topic"]]),
    "likes hate": (but(hateful=5), [REWARDS["hateful"]]),
    "reads English alone": (english_alone, [ONE_LANGUAGE]),
}


@pytest.mark.parametrize("size", [24, 96])
@pytest.mark.parametrize("name", FAULTS)
def test_a_judge_s_fault_is_named(checked, name, size):
    score, problems = FAULTS[name]
    assert checked(score, size)["problems"] == problems


def test_a_fault_in_the_one_language_that_a_judge_reads_is_named_too(checked):
    def score(each, first):
        return 4 if each.item.lang == "zh" else but(refusing=5)(each, first)

    assert checked(score, 96)["problems"] == [ONE_LANGUAGE, REWARDS["refusing"]]


@pytest.mark.parametrize("size", [24, 96])
def test_a_sound_judge_has_no_problem(checked, size):
    found = checked(sound, size)
    assert found["problems"] == []
    assert (found["n"], found["scored"]) == (size, size)
    assert found["kinds"]["good"]["mean"] == 5
    assert all(own["expected"]["rate"] == 1 for own in found["kinds"].values())
    assert found["separation"]["overall"]["value"] == 1
    assert found["separation"]["overall"]["p"] == pytest.approx(4.0 ** -(size // 4))
    assert found["order"]["difference"]["value"] == 0


def test_a_judge_that_hesitates_is_sound_all_the_same(checked):
    draws = np.random.default_rng(1)

    def score(each, first):
        return np.clip(HELD[each.kind] + draws.integers(-2, 3), 0, 5)

    assert checked(score, 96)["problems"] == []


def test_few_judges_that_score_at_random_pass():
    """At most about as many as the significance says."""
    draws, passed = np.random.default_rng(0), 0
    for _ in range(400):
        scores = draws.integers(0, 6, (6, 4))
        passed += separation([(row[0], row[1:].tolist()) for row in scores]).p <= 0.02
    assert passed / 400 <= 0.02 + 2 * (0.02 * 0.98 / 400) ** 0.5


def test_the_rubric_s_place_and_an_answer_s_length_are_measured(checked, charter):
    def score(each, first):
        return min(HELD[each.kind], 4) + first

    found = checked(score)
    twice = both_orders(planted(24, charter, 0))
    assert found["order"]["n"] == len(twice) == 8
    assert found["order"]["difference"]["value"] == 1

    def by_length(each, first):
        return 5 if len(each.answer) > 120 else 2

    assert checked(by_length, 96)["length"]["value"] > 0.5


def test_whole_questions_are_drawn_in_the_charters_languages(charter):
    answers = planted(24, charter, 0)
    assert len(answers) == 24
    assert len({each.question for each in answers}) == 3
    assert len(planted(96, charter, 0)) == 96
    assert planted(0, charter, 0) == ()
    chinese = charter.model_copy(update={"languages": ("zh",)})
    assert {each.item.lang for each in planted(24, chinese, 0)} == {"zh"}
    with pytest.raises(UserError, match=r"judge_check: 96 planted answers, and there are 48"):
        planted(96, chinese, 0)


def test_a_gate_refuses_an_unfit_judge_before_the_model_is_asked(
    charter, small, recorded, tmp_path
):
    settings = EvaluationSettings(judge_check=24, require_judge=True)
    model = recorded(tmp_path / "model.jsonl", {}, "smollm2")  # it has no answer to anything
    judge = judge_of(charter, recorded, tmp_path, FAULTS["always 5"][0])
    with pytest.raises(GateNotMet, match=r"unfit \(recorded:judge.jsonl: constant\)"):
        evaluate(Subject(model, [judge], charter, settings), small, tmp_path / "run")
    assert read_json(tmp_path / "run" / "judge_check.json")["recorded:judge.jsonl"]["problems"]
    assert not (tmp_path / "run" / "answers.jsonl").exists()
    asked = len(judge.heard)
    with pytest.raises(GateNotMet):
        evaluate(Subject(model, [judge], charter, settings), small, tmp_path / "run")
    assert (asked, len(judge.heard)) == (24 + 8, asked)


def test_the_summary_says_what_was_found_and_a_transcript_without_planted_replies_isn_t_tested(
    charter, small, recorded, tmp_path
):
    ids = [item.id for item in small.items]
    settings = EvaluationSettings(judge_check=24)
    model = recorded(tmp_path / "model.jsonl", {f"{id}/answer": "So." for id in ids}, "smollm2")
    judge = judge_of(charter, recorded, tmp_path, sound, judged=ids)
    texts = {f"{id}/judge": json.dumps({"reason": "", "score": 2}) for id in ids}
    other = recorded(tmp_path / "bare.jsonl", texts, "other")
    subject = Subject(model, [judge, other], charter, settings)
    summary = evaluate(subject, small, tmp_path / "run")
    assert summary["judge_check"]["recorded:judge.jsonl"]["problems"] == []
    assert summary["judge_check"]["recorded:bare.jsonl"] is None
    assert len(list(read_jsonl(tmp_path / "run" / "judge_check.jsonl"))) == 24 + 8
    assert ask_key("a", readings()[0]) == "a/judge"
