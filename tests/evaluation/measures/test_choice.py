import json

import pytest

from vcjax.core.errors import UserError
from vcjax.core.files import read_jsonl
from vcjax.evaluation.measures.choice import ChoiceSettings, load_choices
from vcjax.evaluation.options.letters import option_ask
from vcjax.road.evaluate import run_evaluation


def prepared(world, tmp_path, rows, prefers, **fields):
    """An evaluation whose model prefers the option of index `prefers(number)` of each row."""
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    settings = ChoiceSettings(items=str(path))
    lines = []
    for number, item in enumerate(load_choices(settings)):
        ask = option_ask(item.id, item.lang, item.question, item.options)
        logprobs = [-0.5 if index == prefers(number) else -2.0 for index in range(len(ask.answers))]
        lines.append({"key": ask.key, "answers": list(ask.answers), "logprobs": logprobs})
    return world(
        lambda id: 3, per_domain=1, versions=(), more=lines, measures="choice", choice=settings,
        **fields,
    )  # fmt: skip


def row(number: int, lang: str, answer: int) -> dict:
    return {
        "question": f"Question {number}?",
        "options": ["one", "two", "three"],
        "answer": answer,
        "category": "even" if number % 2 == 0 else "odd",
        "lang": lang,
    }


def test_accuracy_is_counted_by_language_and_category(world, tmp_path):
    rows = [row(number, "en" if number < 8 else "zh", number % 3) for number in range(12)]
    config = prepared(world, tmp_path, rows, lambda number: number % 3 if number < 6 else 2)
    part = run_evaluation(config, tmp_path / "run")["measures"]["choice"]
    english, chinese = part["languages"]["en"], part["languages"]["zh"]
    assert (english["accuracy"]["k"], english["accuracy"]["n"]) == (6, 8)
    assert (chinese["accuracy"]["k"], chinese["accuracy"]["n"]) == (2, 4)
    assert english["guessing"] == pytest.approx(1 / 3)
    assert sum(each["chosen"] for each in english["letters"].values()) == 8
    assert chinese["letters"]["C"] == {"chosen": 4, "right": 2}
    assert part["categories"]["even"]["en"]["n"] == 4
    records = [record for _, record in read_jsonl(tmp_path / "run" / "choice" / "items.jsonl")]
    assert [record["correct"] for record in records].count(True) == 8
    assert 'id="choice"' in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_nothing_is_scored_twice_and_a_sample_can_be_measured(world, tmp_path):
    rows = [row(number, "en", 0) for number in range(10)]
    config = prepared(world, tmp_path, rows, lambda number: 0, measured_per_domain_and_language=2)
    part = run_evaluation(config, tmp_path / "run")["measures"]["choice"]
    assert part["languages"]["en"]["accuracy"]["n"] == 4
    path = tmp_path / "run" / "choice" / "likelihoods.jsonl"
    before = path.read_bytes()
    (tmp_path / "run" / "lineage.json").unlink()  # as a kill before the end leaves it
    assert run_evaluation(config, tmp_path / "run")["measures"]["choice"] == part
    assert path.read_bytes() == before


def test_a_file_must_be_named(world, tmp_path):
    config = world(lambda id: 3, per_domain=1, versions=(), measures="choice")
    with pytest.raises(UserError, match=r"config\.choice\.items: name a file"):
        run_evaluation(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
