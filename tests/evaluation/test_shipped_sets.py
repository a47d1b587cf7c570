"""The shipped sets of texts: their schema, counts, parallels and languages."""

from collections import Counter

from vcjax.charter.checks import answered_in_language
from vcjax.charter.load import load_charter
from vcjax.charter.topics import HeldOutTopics
from vcjax.evaluation.benchmark import load_benchmark

LANGUAGES = ("en", "zh")


def folded(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())


def assert_distinct(texts: list[str]) -> None:
    assert [text for text, n in Counter(map(folded, texts)).items() if n > 1] == []


def in_its_language(text: str, lang: str) -> bool:
    return answered_in_language("", text, lang, threshold=0.7).passed


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
