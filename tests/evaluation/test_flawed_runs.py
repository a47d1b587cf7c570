"""Questions, answers and judges with flaws: the report names them, and the numbers stay right."""

import json
import re

import pytest
from markupsafe import escape

from tests.evaluation.measures.conftest import questions, world, write_jsonl
from vcjax.evaluation.comparison.reading import read_run
from vcjax.report.messages import recorded, written_in
from vcjax.road.evaluate import run_evaluation

__all__ = ["world"]  # a fixture

SOUND = [1, 2, 3, 4, 5, 0, 3, 2, 4, 1, 5, 2]
"""What the judge gives to the answers to `questions(3)`, in their order."""
IDS = [item["id"] for item in questions(3)]


def scored(*replies):
    """`SOUND` with other replies at the front."""
    given = dict(zip(IDS, [*replies, *SOUND[len(replies) :]], strict=True))
    return lambda id: given[id.partition("/")[0]]


def means(values):
    """By language, of those that are numbers; the languages take turns."""
    found = {}
    for start, lang in enumerate(("en", "zh")):
        own = [value for value in values[start::2] if value is not None]
        found[lang] = sum(own) / len(own)
    return found


def evaluated(config, tmp_path):
    """The summary, after its problems were found in the report and by `launch.compare`'s reader."""
    summary = run_evaluation(config, tmp_path / "run")
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    read = read_run(tmp_path / "run", "x").problems
    for problem in summary["problems"]:
        assert str(escape(problem)) in report
        assert problem in read
        with written_in("zh"):
            assert not re.search("[a-z]{3} ", recorded(problem)), problem
    assert ("What is wrong with this evaluation" in report) == bool(summary["problems"])
    return summary


def found_means(summary):
    return {lang: own["mean"] for lang, own in summary["languages"].items()}


def test_a_sound_run_has_no_problems(world, tmp_path):
    summary = evaluated(world(scored()), tmp_path)
    assert summary["problems"] == []
    assert found_means(summary) == means(SOUND)


def test_a_question_without_its_parallel_and_one_without_a_rubric_are_named(world, tmp_path):
    config = world(scored())
    items = questions(3)[:-1]
    del items[2]["rubric"]
    write_jsonl(tmp_path / "items.jsonl", items)
    summary = evaluated(config, tmp_path)
    assert summary["problems"] == [
        "1 question without a version in another language (gender-2)",
        "1 question without a rubric, judged by the charter's alone (technology-1-en)",
    ]
    assert found_means(summary) == pytest.approx(means(SOUND[:-1]))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [("I can't say.", "malformed"), ('{"reason": "", "score": NaN}', "schema")],
)
def test_a_judge_that_always_fails_is_named_and_gives_no_number(world, tmp_path, reply, reason):
    summary = evaluated(world(scored(*[reply] * 12)), tmp_path)
    assert summary["problems"] == [f"The judge has scored none of 12 answers ({reason}: 12)"]
    for own in summary["languages"].values():
        assert own["mean"] is own["low"] is own["high"] is None
        assert (own["unscored_as_0"]["mean"], own["unscored_as_5"]["mean"]) == (0, 5)
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert ">nan" not in report.lower()


def test_verdicts_that_are_no_number_are_unscored(world, tmp_path):
    summary = evaluated(world(scored('{"reason": "", "score": NaN}', "Four.")), tmp_path)
    assert summary["problems"] == ["2 questions without a score (schema: 1, malformed: 1)"]
    assert found_means(summary) == pytest.approx(means([None, None, *SOUND[2:]]))


def test_a_judge_that_always_says_5_is_named(world, tmp_path):
    (problem,) = evaluated(world(scored(*[5] * 12)), tmp_path)["problems"]
    assert problem.startswith("The judge gave all 12 answers the score 5: a constant judge")


def test_an_answer_without_text_is_judged_and_a_missing_one_is_not(world, tmp_path):
    config = world(scored())
    said = [json.loads(line) for line in (tmp_path / "model.jsonl").read_text().splitlines()]
    said[0] |= {"text": " "}
    said[1] |= {"text": "", "outcome": "timeout"}
    write_jsonl(tmp_path / "model.jsonl", said)
    summary = evaluated(config, tmp_path)
    assert summary["problems"] == [
        f"1 question with an empty answer, scored as it is ({IDS[0]})",
        "1 question without a score (no answer: timeout: 1)",
    ]
    assert found_means(summary) == pytest.approx(means([SOUND[0], None, *SOUND[2:]]))
    assert summary["all_checks"]["overall"]["n"] == 11
