"""What is measured on is found in documents, in each language, and in no others."""

import json
from collections import Counter
from importlib.resources import files

import pytest

from vcjax.core.errors import UserError
from vcjax.data.corpus.contamination import (
    Contamination,
    ContaminationSettings,
    Item,
    QuotedItems,
    load_items,
)
from vcjax.data.corpus.document import Document, Removal
from vcjax.evaluation.benchmark import load_benchmark
from vcjax.evaluation.facts.fact import load_facts

AROUND = {
    "en": (
        "Last week the town met in its hall. ",
        " Nobody had an answer.",
    ),
    "zh": ("上周镇上的人在礼堂开会，有个人站了起来说：", "没有人回答得上来，会就散了。"),
}


@pytest.fixture(scope="module")
def step() -> Contamination:
    return Contamination(ContaminationSettings())


def outcome(step, text):
    return step.apply(Document(text, "d", "source", "file", 1), Counter())


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_shipped_question_is_found_inside_a_document(step, lang):
    before, after = AROUND[lang]
    questions = [item.question for item in load_benchmark("universal").items if item.lang == lang]
    questions += [fact.texts[lang].questions[0] for fact in load_facts() if lang in fact.texts]
    missed = [each for each in questions if not is_found(step, f"{before}{each}{after}")]
    assert len(questions) > 500
    assert len(missed) <= 0.01 * len(questions)  # those of fewer than five words


def is_found(step, text):
    return isinstance(outcome(step, text), Removal)


def test_an_item_is_named_and_its_parallel_is_found_in_a_document_of_either_language(step):
    parallel: dict[str, dict[str, str]] = {}
    for item in load_benchmark("universal").items:
        parallel.setdefault(item.parallel_id, {})[item.lang] = item.question
    for name, questions in list(parallel.items())[:20]:
        for lang, question in questions.items():
            for around in AROUND.values():  # a document in the other language quotes it, too
                removal = outcome(step, around[0] + question + around[1])
                assert isinstance(removal, Removal)
                assert removal.detail.endswith(f": {name}-{lang}")


def test_a_changed_word_does_not_hide_a_question_and_another_question_is_none():
    question = "Should religious schools that get public money be allowed to choose their pupils?"
    items = QuotedItems([Item("one", question)])
    changed = "Should religious schools that get state money be allowed to choose their children"
    assert items.first(f"He asked: {changed} by belief?") is not None
    assert items.first("Should public schools be allowed to choose their own books?") is None


def test_the_n_grams_of_an_item_that_are_pages_apart_are_no_quotation():
    question = "Should a town that is short of money sell the park that its founder gave to it?"
    words = question.split()
    parts = [" ".join(words[n : n + 5]) for n in range(0, len(words), 3)]
    items = QuotedItems([Item("one", question)])
    assert items.first(" ... ".join(parts)) is not None
    assert items.first((" and so on" * 40).join(parts)) is None


def test_the_documents_of_the_demonstration_quote_nothing(step):
    lines = files("vcjax.data").joinpath("demo/documents.jsonl").read_text("utf-8").splitlines()
    found = [each["id"] for each in map(json.loads, lines) if is_found(step, each["text"])]
    assert found == []


def test_items_of_a_user_are_read_from_files_beside_the_shipped_ones(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"id": "q1", "prompt": "How many lamps light the square at night?"}\n')
    assert len(load_items(f"shipped,{path}")) == len(load_items("shipped")) + 1
    mine = Contamination(ContaminationSettings(benchmarks=str(path)))
    removal = outcome(mine, "I wonder: how many lamps light the square, at night?")
    assert isinstance(removal, Removal)
    assert removal.detail == "mine.jsonl: q1"
    path.write_text('{"answer": 3}\n')
    with pytest.raises(UserError, match=r"mine\.jsonl:1: has none of the fields question"):
        load_items(str(path))
