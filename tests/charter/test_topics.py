"""Held-out topics in texts without a tag: found by the charter's words, and what that misses."""

import json
from importlib.resources import files

import pytest

from vcjax.charter.load import load_charter
from vcjax.charter.schema import Charter
from vcjax.charter.topics import HeldOutTopics
from vcjax.evaluation.benchmark import load_benchmark


@pytest.fixture(scope="module")
def universal() -> Charter:
    return load_charter("universal")


@pytest.fixture(scope="module")
def topics(universal) -> HeldOutTopics:
    return HeldOutTopics(universal)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_most_questions_that_name_a_held_out_topic_are_found_and_few_others(
    universal, topics, lang
):
    """On 182 questions a language whose subdomains are known, and for which no term was written.

    Found: 19 of 42 in English and 23 of 42 in Chinese, none for another held-out subdomain; many of
    the others name nothing ("My brother drowned at sea because nobody would give him a visa"). Of
    140 others 3 and 1 are found, which mention a held-out topic ("pay double and leave our own poor
    families cold").
    """
    held_out = {each.id for each in universal.subdomains() if each.held_out}
    items = [item for item in load_benchmark("universal", universal).items if item.lang == lang]
    found = {item.id: topics.subdomain_of(item.question) for item in items}
    inside = [item for item in items if item.domain in held_out]
    outside = [item for item in items if item.domain not in held_out]
    assert (len(inside), len(outside)) == (42, 140)
    recall = sum(found[item.id] is not None for item in inside) / len(inside)
    right = sum(found[item.id] == item.domain for item in inside) / len(inside)
    false = sum(found[item.id] is not None for item in outside) / len(outside)
    assert recall >= 0.45
    assert right == recall
    assert false <= 0.03


def test_what_the_demo_has_no_held_out_domain_for_is_seldom_found(universal, topics):
    held_out = {each.id for each in universal.subdomains() if each.held_out}
    lines = files("vcjax.data").joinpath("demo/documents.jsonl").read_text("utf-8").splitlines()
    others = [each for each in map(json.loads, lines) if each["domain"] not in held_out]
    found = [each["id"] for each in others if topics.subdomain_of(each["text"])]
    assert len(others) == 40
    assert len(found) <= 2


@pytest.mark.parametrize(
    ("text", "subdomain"),
    [
        ("Were the Refugees' papers lost?", "migration"),
        ("Re-immigration was rare.", "migration"),
        ("The statues were cleaned.", "historical_memory"),
        ("我们镇上的难民孩子在哪里上学？", "migration"),
        ("Please fix the code in this app: 难民", "migration"),  # a text may mix languages
        ("Data migration to a new server takes an hour.", None),
        ("Status: done. State the state of the statute.", None),
        ("殖民地时期的邮票值多少钱？", None),
        # A topic's own words, without any of the terms.
        ("How does a school textbook tell of the wars of its country?", "historical_memory"),
        ("A school has wars of pillows.", None),
    ],
)
def test_words_and_topics(topics, text, subdomain):
    assert topics.subdomain_of(text) == subdomain


def test_a_long_text_needs_more_than_one_mention(topics):
    story = "The baker opened his shop at six and sold bread until noon every day. " * 30
    assert topics.subdomain_of(f"{story} A refugee came in.") is None
    assert topics.subdomain_of(f"{story} {'Refugees came in. ' * 6}") == "migration"


def test_single_topics_that_are_held_out_are_found_and_no_others_of_their_subdomain(universal):
    data = universal.model_dump()
    religion = next(
        each
        for domain in data["domains"]
        for each in domain["subdomains"]
        if each["id"] == "religion"
    )
    kept = "places of worship and the objections of neighbours"
    religion["held_out_topics"] = {"en": [kept], "zh": ["宗教场所建设与邻里意见"]}
    religion["terms"] = {"en": ["faith"], "zh": ["信仰"]}
    topics = HeldOutTopics(Charter.model_validate(data))
    asked = "Do the objections of neighbours against a place of worship count?"
    assert topics.subdomain_of(asked) == "religion"
    assert topics.subdomain_of("邻里对宗教场所建设有意见，怎么办？") == "religion"
    assert topics.subdomain_of("May I change my faith?") is None
