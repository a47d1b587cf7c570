import json
from dataclasses import replace

import pytest

from tests.evaluation.measures.conftest import planted
from vcjax.core.files import read_jsonl
from vcjax.evaluation.benchmark import FOLDER
from vcjax.road.evaluate import run_evaluation
from vcjax.roles.recorded import RecordedRole

REFUSALS = {"en": "I'm sorry, but I can't help with that.", "zh": "抱歉，我无法回答这个问题。"}
ANSWERS = {"en": "Here is how it is done, step by step.", "zh": "具体做法如下，一步一步来。"}
ITEMS = [
    record
    for name in ("benign", "harmful")
    for _, record in read_jsonl(FOLDER / "refusal" / f"{name}.jsonl")
]


def transcripts(says, finds):
    """Lines for every item: `says(item)` is the answer, `finds(item)` the judge's verdict."""
    for item in ITEMS:
        yield {"key": f"{item['id']}/answer", "text": says(item)}
        verdict = finds(item)
        form = json.dumps({"reason": "", "verdict": verdict}) if verdict else "I don't know."
        yield {"key": f"{item['id']}/refusal", "text": form}


def is_benign(item):
    return item["id"].startswith("benign")


def run(world, tmp_path, says, finds, **fields):
    config = world(lambda id: 3, more=list(transcripts(says, finds)), measures="refusal", **fields)
    return run_evaluation(config, tmp_path / "run")["measures"]["refusal"]


def test_refusals_without_the_phrase_are_found_by_the_judge_and_missed_by_the_rule(world, tmp_path):
    """A model that evades benign questions in Chinese, and fulfils harmful requests in English with
    an excuse before it."""

    def says(item):
        if is_benign(item):
            return ANSWERS[item["lang"]]
        return REFUSALS[item["lang"]]

    def finds(item):
        evades = is_benign(item) and item["lang"] == "zh"
        return "refused" if evades or (not is_benign(item) and item["lang"] == "zh") else "answered"

    part = run(world, tmp_path, says, finds)
    benign, harmful = part["sets"]["benign"], part["sets"]["harmful"]
    assert benign["languages"]["zh"]["failed"]["rate"] == 1
    assert benign["languages"]["zh"]["rule"]["k"] == 0
    assert benign["languages"]["en"]["failed"]["k"] == 0
    assert harmful["languages"]["en"]["failed"]["rate"] == 1
    assert harmful["languages"]["en"]["rule"]["rate"] == 1
    assert harmful["languages"]["zh"]["failed"]["k"] == 0
    assert benign["confusion"] == {
        "answered": {"rule": 0, "no_rule": 60},
        "partly": {"rule": 0, "no_rule": 0},
        "refused": {"rule": 0, "no_rule": 60},
    }
    assert harmful["confusion"]["answered"] == {"rule": 40, "no_rule": 0}
    assert planted(part) == {
        "gap/benign": 1,
        "rule/benign": -1,
        "gap/harmful": -1,
        "rule/harmful": 1,
    }
    assert "What matching phrases finds" in (tmp_path / "run/report.html").read_text("utf-8")


def test_verdicts_that_cannot_be_read_bound_the_share_both_ways(world, tmp_path):
    def finds(item):
        return None if item["id"] in ("benign-01-en", "harmful-02-en") else "answered"

    part = run(world, tmp_path, lambda item: ANSWERS[item["lang"]], finds)
    own = part["sets"]["benign"]["languages"]["en"]
    assert own["unscored"] == {"malformed": 1}
    assert own["failed"] == own["failed"] | {"k": 0, "n": 59}
    assert (own["failed_at_least"], own["failed_at_most"]) == (0, 1 / 60)
    own = part["sets"]["harmful"]["languages"]["en"]
    assert (own["failed_at_least"], own["failed_at_most"]) == (39 / 40, 1)


def test_without_a_judge_there_is_the_rule_s_count_and_the_report_says_so(world, tmp_path):
    config = world(
        lambda id: 3,
        more=list(transcripts(lambda item: REFUSALS[item["lang"]], lambda item: "refused")),
        measures="refusal",
        measured_per_domain_and_language=1,
    )
    config = replace(config, judge="", judge_family="")
    part = run_evaluation(config, tmp_path / "run")["measures"]["refusal"]
    assert part["judged"] is False
    benign = part["sets"]["benign"]["languages"]["zh"]
    assert benign["unscored"] == {"no_judge": benign["n"]}
    assert benign["rule"]["rate"] == 1
    assert list(part["tests"]) == ["gap/benign", "gap/harmful"]
    page = (tmp_path / "run/report.html").read_text("utf-8")
    assert "There is only the rule that matches phrases of refusal" in page


def test_the_judge_is_asked_in_the_item_s_language_and_not_of_which_set_it_is(
    world, tmp_path, monkeypatch
):
    heard = {}

    def ask(self, asks, on_reply=None, real=RecordedRole.ask):
        heard.update({each.key: each for each in asks})
        return real(self, asks, on_reply)

    monkeypatch.setattr(RecordedRole, "ask", ask)
    run(
        world,
        tmp_path,
        lambda item: ANSWERS[item["lang"]],
        lambda item: "answered",
        measured_per_domain_and_language=1,
    )
    asks = {key: each for key, each in heard.items() if key.endswith("/refusal")}
    assert len(asks) > 20
    for key, each in asks.items():
        text = each.messages[0]["content"]
        assert ("请判断" in text) == key.endswith("-zh/refusal")
        assert "benign" not in text
        assert "harmful" not in text
        assert each.json_schema["properties"]["verdict"]["enum"][0] == "answered"


def test_a_panel_decides_by_majority_and_each_judge_is_shown_alone(world, tmp_path):
    """Of three judges the third takes every answer for a refusal, and the second can't be read on
    one: then the two others decide, if they agree."""
    odd = ("benign-01-en", "benign-02-en")

    def finds(judge):
        def verdict(item):
            if judge == 2:
                return "refused"
            if judge == 1 and item["id"] == odd[0]:
                return None
            return "partly" if judge == 1 and item["id"] == odd[1] else "answered"

        return verdict

    def says(item):
        return ANSWERS[item["lang"]]

    config = world(lambda id: 3, more=list(transcripts(says, finds(0))), measures="refusal")
    lines = (tmp_path / "judge.jsonl").read_text(encoding="utf-8").splitlines()
    scored = [line for line in lines if "/judge" in line]
    for judge in (1, 2):
        own = [json.dumps(line) for line in transcripts(says, finds(judge))]
        path = tmp_path / f"judge-{judge}.jsonl"
        path.write_text("\n".join([*scored, *own]), encoding="utf-8")
    others = [f"recorded:{tmp_path / f'judge-{judge}.jsonl'}" for judge in (1, 2)]
    panel = replace(config, judge=",".join([config.judge, *others]), judge_family="b,c,d")
    part = run_evaluation(panel, tmp_path / "run")["measures"]["refusal"]

    english = part["sets"]["benign"]["languages"]["en"]
    assert english["verdicts"] == {"answered": 58, "partly": 0, "refused": 0}
    assert english["unscored"] == {"no majority": 2}
    assert (english["failed_at_least"], english["failed_at_most"]) == (0, 2 / 60)
    alone = part["judges"]["benign"]["alone"]
    assert alone["recorded:judge-2.jsonl"]["en"]["failed"]["rate"] == 1
    assert alone["recorded:judge-1.jsonl"]["en"] == {
        "failed": alone["recorded:judge-1.jsonl"]["en"]["failed"] | {"k": 0, "n": 59},
        "unscored": 1,
    }
    assert part["judges"]["benign"]["same"]["k"] == 0
    # Two of three pairs disagree everywhere; by chance about 4 of 9 would.
    assert part["judges"]["benign"]["alpha"]["alpha"] == pytest.approx(-0.5, abs=0.03)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "by each judge alone" in page
    asked = [record for _, record in read_jsonl(tmp_path / "run" / "refusal" / "verdicts.jsonl")]
    assert len(asked) == 3 * len(ITEMS)
    one = run_evaluation(config, tmp_path / "one")["measures"]["refusal"]
    assert one["judges"] is None
