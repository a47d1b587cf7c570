"""The shipped demonstration data: whole, in both languages, and apart from the benchmark."""

from collections import Counter
from importlib.resources import files

import pytest

from vcjax.charter.load import load_charter
from vcjax.data.importers import read_records
from vcjax.evaluation.benchmark import load_benchmark

FOLDER = files("vcjax.data") / "demo"


@pytest.mark.parametrize("kind", ["documents", "conversations", "questions"])
def test_every_subdomain_has_as_many_records_in_each_language(kind):
    records = read_records(str(FOLDER / f"{kind}.jsonl"), kind).records
    counts = Counter((record.domain, record.lang) for record in records)
    domains = {subdomain.id for subdomain in load_charter("universal").subdomains()}
    assert set(counts) == {(domain, lang) for domain in domains for lang in ("en", "zh")}
    assert len(set(counts.values())) == 1


def test_no_question_of_the_benchmark_is_in_it():
    asked = {item.question for item in load_benchmark("universal").items}
    questions = read_records(str(FOLDER / "questions.jsonl"), "questions").records
    talks = read_records(str(FOLDER / "conversations.jsonl"), "conversations").records
    turns = {turn["content"] for talk in talks for turn in talk.messages}
    assert asked.isdisjoint({question.question for question in questions} | turns)
