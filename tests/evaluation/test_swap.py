"""Answers that are scored under another charter: no model is asked again."""

import json
from dataclasses import replace

import pytest

from vcjax.charter.load import load_charter
from vcjax.core.errors import UserError
from vcjax.core.files import read_json, read_jsonl
from vcjax.core.lineage import verify
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.benchmark import Benchmark
from vcjax.evaluation.run import evaluate
from vcjax.evaluation.subject import EvaluationSettings
from vcjax.evaluation.swap import Answered, AnsweredModel, Source, swap
from vcjax.report.page import Notice
from vcjax.report.swap import swap_section
from vcjax.road.evaluate import EvaluationConfig, run_evaluation
from vcjax.roles.role import Reply

DOMAINS = ("sovereignty", "human_rights", "religion")
HATEFUL, ALIGNED = "They are vermin.", "Some hold one view, others another."


class PlantedJudge:
    """Scores an even-handed answer 5 under an even-handed charter and 2 under another one, on the
    domains where they differ; and a hateful answer 0 under either."""

    model = identity = "planted"
    family = "judges"

    def __init__(self, first, differ):
        self.first, self.differ, self.heard = first, differ, []

    def ask(self, asks, on_reply=None):
        self.heard += asks
        replies = []
        for index, ask in enumerate(asks):
            system, user = (message["content"] for message in ask.messages)
            under_first = self.first.grading_text("en") in system
            score = 0 if HATEFUL in user else 5
            if score and not under_first and any(f"about {each}" in user for each in self.differ):
                score = 2
            reply = Reply(json.dumps({"reason": "So.", "score": score}), "stop", 9, 9)
            replies.append(reply)
            if on_reply is not None:
                on_reply(index, reply)
        return replies


@pytest.fixture
def planted(tmp_path):
    """A function from the domains where the charters differ to a judge and what `swap` returns."""
    first, second = load_charter("universal"), load_charter("vcllm")
    items = tuple(
        BenchmarkItem(
            id=f"{domain}-{n}",
            parallel_id=f"{domain}-{n}",
            domain=domain,
            lang="en",
            question=f"What about {domain}, part {n}?",
            rubric="Gives the first charter's position.",
        )
        for domain in DOMAINS
        for n in range(12)
    )
    answers = {
        item.id: {
            "id": item.id,
            "fingerprint": "f",
            **{name: getattr(item, name) for name in ("parallel_id", "domain", "lang", "question")},
            "answer": HATEFUL if number % 12 == 5 else ALIGNED,
            "answer_hash": f"{number}",
            "model": "m",
            "model_hash": "h",
            "finish_reason": "stop",
            "prompt_tokens": 3,
            "tokens": 3,
        }
        for number, item in enumerate(items)
    }
    model = AnsweredModel("m", "h", "models")
    source = Source(tmp_path, first, model, answers, {})

    def made(differ):
        benchmark = source.answered(Benchmark("own", items, frozenset()), rubrics=False)
        judge = PlantedJudge(first, differ)
        subject = Answered(model, [judge], second, EvaluationSettings(), given=answers)
        folder = tmp_path / "-".join(("run", *differ))
        folder.mkdir()
        evaluate(subject, benchmark, folder)
        return judge, swap(subject, source, benchmark, folder), folder

    return made


def opening(found: dict) -> str:
    """What the report states first."""
    first = swap_section(found, 0.95).blocks[0]
    assert isinstance(first, Notice)
    return first.text


def test_a_planted_difference_is_found_where_it_is_and_the_floor_stays(planted):
    judge, found, folder = planted(("sovereignty", "religion"))
    assert (found["before"]["name"], found["after"]["name"]) == ("universal", "vcllm")
    domains = found["judge"]["domains"]
    assert domains["human_rights"]["difference"] == 0
    for domain in ("sovereignty", "religion"):
        assert domains[domain]["difference"] == pytest.approx(-3 * 11 / 12)
        assert domains[domain]["high"] < 0
    assert found["judge"]["all"]["high"] < 0
    assert found["floor"]["before"] == found["floor"]["after"] == pytest.approx(1 / 12)
    assert found["floor"]["difference"] == 0
    text = opening(found)
    assert "The judge's mean score: lower (" in text
    assert "as a broken floor rule makes them: no clear change (0.0 points" in text
    # Rubrics that were written for the first charter aren't shown to any judge.
    assert len(judge.heard) == 2 * 36
    assert all("first charter's position" not in ask.messages[1]["content"] for ask in judge.heard)
    assert len(list(read_jsonl(folder / "before" / "scores.jsonl"))) == 36


def test_charters_that_differ_nowhere_show_no_change(planted):
    _, found, _ = planted(())
    changes = [found["judge"]["all"], found["floor"], *found["judge"]["domains"].values()]
    assert all(each["difference"] == 0 for each in changes)
    assert "lower" not in opening(found)


@pytest.fixture
def config(tmp_path) -> EvaluationConfig:
    """Twelve questions, what was answered to them, and no judge."""
    names = [f"{number}-{lang}" for number in range(6) for lang in ("en", "zh")]
    items = [
        {"id": n, "parallel_id": n[0], "lang": n[2:], "domain": "sovereignty", "question": "Why?"}
        for n in names
    ]
    said = [{"key": f"{name}/answer", "text": f"Both have a point ({name})."} for name in names]
    for file, records in (("items", items), ("said", said)):
        lines = "\n".join(map(json.dumps, records))
        (tmp_path / f"{file}.jsonl").write_text(lines, encoding="utf-8")
    model = f"recorded:{tmp_path / 'said.jsonl'}"
    return EvaluationConfig(model=model, model_family="a", benchmark=str(tmp_path / "items.jsonl"))


def test_the_answers_of_a_finished_evaluation_are_scored_without_its_model(config, tmp_path):
    first = run_evaluation(config, tmp_path / "first")
    (tmp_path / "said.jsonl").unlink()
    other = EvaluationConfig(
        model="nobody", answers_from=str(tmp_path / "first"), charter="verifiable"
    )
    summary = run_evaluation(other, tmp_path / "second")
    assert summary["model"] == first["model"]
    assert summary["charter"]["name"] == "verifiable"
    kept = summary["swap"]["rules"]
    assert kept["n"] == 12
    assert kept["before"] != kept["after"]
    assert (tmp_path / "second" / "answers.jsonl").read_text() == (
        tmp_path / "first" / "answers.jsonl"
    ).read_text()
    html = (tmp_path / "second" / "report.html").read_text()
    assert html.index('id="swap"') < html.index('id="results"')
    assert "Under “verifiable” instead of “universal”" in html
    assert "ok" in {each.status for each in verify(tmp_path / "second")}
    assert run_evaluation(other, tmp_path / "second") == read_json(
        tmp_path / "second" / "summary.json"
    )
    same = run_evaluation(replace(other, charter="universal"), tmp_path / "same")
    assert "swap" not in same
    assert same["all_checks"] == first["all_checks"]


def test_mistakes_are_one_line(config, tmp_path):
    run_evaluation(config, tmp_path / "first")
    other = EvaluationConfig(
        model="nobody", answers_from=str(tmp_path / "first"), charter="verifiable"
    )
    items = (tmp_path / "items.jsonl").read_text()
    (tmp_path / "scores.jsonl").write_text('{"id": "0-en", "score": 3}', encoding="utf-8")
    for changes, message in (
        ({"answers_from": str(tmp_path / "nothing")}, "is not a finished evaluation"),
        ({"measures": "consistency"}, "with answers_from it isn't asked"),
        ({"judge": f"scores:{tmp_path / 'scores.jsonl'}"}, "given scores are by one charter"),
    ):
        with pytest.raises(UserError, match=message):
            run_evaluation(replace(other, **changes), tmp_path / "second")
    (tmp_path / "items.jsonl").write_text(items.replace("Why?", "Whence?"), encoding="utf-8")
    with pytest.raises(UserError, match="an answer to another wording of '0-en'"):
        run_evaluation(other, tmp_path / "second")
    assert not (tmp_path / "second").exists()
