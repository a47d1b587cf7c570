"""The shipped sets of texts: their schema, counts, parallels and languages."""

from collections import Counter
from pathlib import Path

import pytest

from vcjax import evaluation
from vcjax.charter.checks import answered_in_language
from vcjax.charter.load import load_charter
from vcjax.charter.topics import HeldOutTopics
from vcjax.core.files import read_jsonl
from vcjax.evaluation.benchmark import SHIPPED, load_benchmark

FOLDER = Path(evaluation.__file__).parent
LANGUAGES = ("en", "zh")
EXPECTED = {"good": [4, 5], "off_topic": [0, 1], "refusing": [0, 1], "hateful": [0, 0]}


def folded(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())


def assert_distinct(texts: list[str]) -> None:
    assert [text for text, n in Counter(map(folded, texts)).items() if n > 1] == []


def in_its_language(text: str, lang: str) -> bool:
    return answered_in_language("", text, lang, threshold=0.7).passed


def read(name: str) -> list[dict]:
    return [record for _, record in read_jsonl(FOLDER / name)]


def test_the_items_of_vcllm_are_parallel_and_on_the_subdomains_of_the_paper():
    items = load_benchmark("vcllm", load_charter("vcllm")).items
    assert len(items) == 84
    for domain in ("sovereignty", "human_rights", "religion"):
        for number in range(1, 15):
            parallel_id = f"vcllm-{domain}-{number:02}"
            versions = [each for each in items if each.parallel_id == parallel_id]
            assert [(each.id, each.domain, each.lang) for each in versions] == [
                (f"{parallel_id}-{lang}", domain, lang) for lang in LANGUAGES
            ]
    for each in items:
        assert each.rubric
        assert in_its_language(each.question, each.lang)
        assert in_its_language(each.rubric, each.lang)


def test_no_item_of_vcllm_is_one_of_universal_or_about_a_held_out_subdomain():
    items = load_benchmark("vcllm").items
    assert_distinct([each.question for each in (*items, *load_benchmark("universal").items)])
    held_out = HeldOutTopics(load_charter("vcllm"))
    assert [each.id for each in items if held_out.subdomain_of(each.question)] == []


def test_each_planted_question_has_an_answer_of_each_kind_in_each_language():
    records = read("judge_check.jsonl")
    assert [each["id"] for each in records] == [
        f"judge_check-{number:02}-{kind}-{lang}"
        for number in range(1, 13)
        for kind in EXPECTED
        for lang in LANGUAGES
    ]
    for each in records:
        assert each["id"] == "-".join((each["question_id"], each["kind"], each["lang"]))
        assert each["expected"] == EXPECTED[each["kind"]]
        for field in ("question", "rubric", "answer"):
            assert in_its_language(each[field], each["lang"])
    assert_distinct([each["answer"] for each in records])


def test_the_planted_questions_are_new_and_one_to_a_subdomain():
    records = read("judge_check.jsonl")
    asked = {(each["question"], each["rubric"], each["lang"]) for each in records}
    assert Counter(lang for _, _, lang in asked) == {"en": 12, "zh": 12}
    domains = {each["question_id"]: each["domain"] for each in records}
    assert len(set(domains.values())) == 12
    assert set(domains.values()) < {each.id for each in load_charter("universal").subdomains()}
    known = [each.question for name in SHIPPED for each in load_benchmark(name).items]
    assert_distinct([*known, *(question for question, _, _ in asked)])


def test_off_topic_answers_are_about_as_long_as_good_ones():
    """A judge that scored by length alone would be found out."""
    lengths: dict[tuple[str, str], list[int]] = {}
    for each in read("judge_check.jsonl"):
        lengths.setdefault((each["kind"], each["lang"]), []).append(len(each["answer"]))
    for lang in LANGUAGES:
        good, other = lengths["good", lang], lengths["off_topic", lang]
        longer = sum(a > b for a in good for b in other) / (len(good) * len(other))
        assert 0.3 < longer < 0.7


@pytest.mark.parametrize(("name", "questions"), [("benign", 60), ("harmful", 40)])
def test_benign_and_harmful_questions_are_parallel_and_in_every_subdomain(name, questions):
    charter = load_charter("universal")
    items = load_benchmark(FOLDER / "benchmarks" / "refusal" / f"{name}.jsonl", charter).items
    assert [each.id for each in items] == [
        f"{name}-{number:02}-{lang}" for number in range(1, questions + 1) for lang in LANGUAGES
    ]
    for english, chinese in zip(items[::2], items[1::2], strict=True):
        assert english.parallel_id == chinese.parallel_id == english.id[: -len("-en")]
        assert english.domain == chinese.domain
    assert {each.domain for each in items} == {each.id for each in charter.subdomains()}
    for each in items:
        assert each.rubric
        assert in_its_language(each.question, each.lang)
    known = [each.question for name in SHIPPED for each in load_benchmark(name).items]
    assert_distinct([*known, *(each.question for each in items)])


def test_planted_claims_are_parallel_with_ten_of_each_class_in_each_language():
    records = read("claims/claims.jsonl")
    classes = ("supported", "contradicted", "unverifiable")
    assert Counter((each["class"], each["lang"]) for each in records) == {
        (each, lang): 10 for each in classes for lang in LANGUAGES
    }
    for english, chinese in zip(records[::2], records[1::2], strict=True):
        assert english["class"] == chinese["class"]
        for each, lang in zip((english, chinese), LANGUAGES, strict=True):
            assert each["lang"] == lang
            assert each["id"] == f"{english['parallel_id']}-{lang}"
            assert in_its_language(each["claim"], lang)
    assert len({each["id"] for each in records}) == 60
    assert_distinct([each["claim"] for each in records])


def test_what_decides_a_claim_is_a_document_in_its_language():
    documents = {
        path.stem: path.read_text(encoding="utf-8")
        for path in (FOLDER / "claims" / "documents").iterdir()
    }
    assert sorted(documents) == [f"doc-{n:02}-{lang}" for n in range(1, 13) for lang in LANGUAGES]
    for name, text in documents.items():
        lang = name[-2:]
        assert in_its_language(text, lang)
        size = len(text.split()) if lang == "en" else len(text)
        assert 80 <= size <= (200 if lang == "en" else 350)
    decided = set()
    for each in read("claims/claims.jsonl"):
        assert bool(each["documents"]) == (each["class"] != "unverifiable")
        assert all(name in documents and name[-2:] == each["lang"] for name in each["documents"])
        decided.update(each["documents"])
    assert decided == set(documents)
