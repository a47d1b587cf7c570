import json
from dataclasses import replace

import numpy as np
import pytest

from tests.evaluation.measures.conftest import planted
from vcjax.core.files import read_jsonl
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.facts.fact import load_facts
from vcjax.evaluation.measures.pushback import TURNS, summarise, user_turn
from vcjax.road.evaluate import run_evaluation
from vcjax.roles.recorded import RecordedRole

VERSIONS = [f"{arm}-{turn}" for arm in ("control", "doubt") for turn in (1, 2, 3)]


def test_only_good_first_answers_are_pressed_and_those_that_turn_bad_are_flips(world, tmp_path):
    def score(id):
        if id.startswith("gender-0"):
            return 2  # not good from the start
        return 1 if id.endswith("zh/doubt-3") else 5

    config = world(score, versions=VERSIONS, measures="pushback")
    part = run_evaluation(config, tmp_path / "run")["measures"]["pushback"]
    assert (part["answers"], part["good"], part["unscored"], part["accept"]) == (12, 10, 0, 4)
    flips = {
        (lang, arm): own[arm]["flips"]["k"]
        for lang, own in part["languages"].items()
        for arm in ("control", "doubt")
    }
    assert flips == {("en", "control"): 0, ("en", "doubt"): 0, ("zh", "control"): 0} | {
        ("zh", "doubt"): 5
    }
    assert part["languages"]["zh"]["doubt"]["change"]["mean"] == -4
    assert part["tests"]["flips/zh"]["difference"] == 1
    assert part["tests"]["flips"]["n"] == 5  # parallel questions
    asked = [
        json.loads(line)["id"]
        for line in (tmp_path / "run/pushback/answers.jsonl").read_text().splitlines()
    ]
    assert len(asked) == 10 * 6
    assert not any(id.startswith("gender-0") for id in asked)


def test_each_turn_continues_the_model_s_own_conversation(world, tmp_path, monkeypatch):
    heard = {}

    def ask(self, asks, on_reply=None, real=RecordedRole.ask):
        heard.update({each.key: each.messages for each in asks})
        return real(self, asks, on_reply)

    monkeypatch.setattr(RecordedRole, "ask", ask)
    run_evaluation(world(lambda id: 5, versions=VERSIONS, measures="pushback"), tmp_path / "run")
    messages = heard["gender-1-zh/doubt-3/answer"]
    said = [user_turn("doubt", "zh", turn, "gender-1", 0) for turn in range(3)]
    assert [turn["role"] for turn in messages] == ["user", "assistant"] * 3 + ["user"]
    assert [turn["content"] for turn in messages[2::2]] == said
    assert messages[3]["content"] == "Answer to gender-1-zh/doubt-1."
    # The judge is shown all that was said, in order, and what the final answer answers.
    judged = heard["gender-1-zh/doubt-3/judge"][1]["content"]
    shown = [f"<{turn['role']}>\n{turn['content']}\n</{turn['role']}>" for turn in messages[:-1]]
    assert "\n".join(shown) in judged
    assert f"问题：\n{said[2]}" in judged
    assert "<answer>\nAnswer to gender-1-zh/doubt-3.\n</answer>" in judged
    assert "Weighs both sides." in judged  # the rubric of the first question
    for turn in range(3):
        control = user_turn("control", "zh", turn, "gender-1", 0)
        assert control in heard["gender-1-zh/control-3/judge"][1]["content"]
        assert control not in judged
    path = tmp_path / "run" / "pushback" / "answers.jsonl"
    records = {each["id"]: each for _, each in read_jsonl(path)}
    last = records["gender-1-zh/doubt-3"]
    assert (*last["conversation"], {"role": "user", "content": last["question"]}) == messages


def test_a_final_answer_without_a_score_is_counted_and_left_out(world, tmp_path):
    config = world(
        lambda id: "Four." if id == "gender-1-en/doubt-3" else 5,
        versions=VERSIONS,
        measures="pushback",
    )
    part = run_evaluation(config, tmp_path / "run")["measures"]["pushback"]
    assert (part["good"], part["unscored"]) == (12, 1)
    assert part["languages"]["en"]["doubt"]["flips"]["n"] == 5


def values(random, drop, questions=40):
    """First scores of 4 or 5, and final ones with noise, lower by `drop` after pushback."""
    found = []
    for number in range(questions):
        for lang in ("en", "zh"):
            item = BenchmarkItem(f"{number}-{lang}", f"{number}", "gender", lang, "Why?")
            final = np.clip(np.rint(random.normal([4.3, 4.3 - drop], 0.8)), 0, 5)
            found.append((item, [5.0, *final.tolist()]))
    return found


def test_a_model_that_gives_in_is_found_and_regression_to_the_mean_is_not():
    random = np.random.default_rng(0)
    settings = {"seed": 0, "confidence": 0.95}
    steady = summarise(values(random, 0.0), 4.0, "judge", **settings)
    assert planted(steady) == {}
    assert steady["languages"]["en"]["doubt"]["flips"]["k"] > 0
    weak = summarise(values(random, 1.5), 4.0, "judge", **settings)
    assert planted(weak) == {
        "flips": 1,
        "flips/en": 1,
        "value/en": -1,
        "flips/zh": 1,
        "value/zh": -1,
    }


@pytest.mark.parametrize("arm", ["doubt", "control"])
def test_every_turn_has_as_many_wordings_in_both_languages(arm):
    english, chinese = TURNS[arm]["en"], TURNS[arm]["zh"]
    assert [len(turn) for turn in english] == [len(turn) for turn in chinese] == [3, 3, 3]


def likelihoods(prefers):
    """Recorded log-likelihoods of all shipped facts; `prefers(key)` whether the true sentence."""
    for fact in load_facts():
        for lang in fact.texts:
            for name in ("1", "2", "control", "doubt"):
                key = f"{fact.id}/{lang}/{name}"
                logprobs = [-1.0, -2.0] if prefers(key) else [-2.0, -1.0]
                yield {"key": key, "answers": list(fact.sentences(lang)), "logprobs": logprobs}


def test_facts_that_are_given_up_are_found_without_a_judge(world, tmp_path):
    # Doubt turns all facts in English; in Chinese the model guesses.
    config = world(
        lambda id: 3,
        more=list(likelihoods(lambda key: key.endswith(("en/1", "en/2", "control")))),
        measures="fact_pushback",
        measured_per_domain_and_language=1,
    )
    config = replace(config, judge="", judge_family="")
    part = run_evaluation(config, tmp_path / "run")["measures"]["fact_pushback"]
    english, chinese = part["languages"]["en"], part["languages"]["zh"]
    assert english["known"] == english["facts"] > 10
    assert (english["control"]["rate"], english["doubt"]["rate"]) == (0, 1)
    assert not english["guesses"]
    assert (chinese["known"], chinese["guesses"]) == (0, True)
    assert planted(part) == {"flips/en": 1}
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "In Chinese (0 of" in page
