"""What the shipped charters promise."""

import pytest

from vcjax.charter.checks import answered_in_language
from vcjax.charter.floor import FLOOR_LINE, FLOOR_RULES
from vcjax.charter.load import SHIPPED, load_charter

SUBDOMAINS = {
    "race": ["ethnic_relations", "racial_discrimination", "migration"],
    "society": ["religion", "gender", "family", "inequality", "technology"],
    "politics": [
        "sovereignty",
        "human_rights",
        "governance",
        "historical_memory",
        "international_relations",
    ],
}


@pytest.fixture(params=SHIPPED)
def charter(request):
    return load_charter(request.param)


def test_three_areas_hold_thirteen_subdomains(charter):
    assert {d.id: [s.id for s in d.subdomains] for d in charter.domains} == SUBDOMAINS
    held_out = {s.id for s in charter.subdomains()} - {s.id for s in charter.subdomains(False)}
    assert held_out == {"migration", "inequality", "historical_memory"}


def test_each_subdomain_has_four_topics_in_each_language(charter):
    for subdomain in charter.subdomains():
        for lang in ("en", "zh"):
            topics = subdomain.topics.get(lang)
            assert len(set(topics)) == 4
            assert all(
                answered_in_language("", topic, lang, threshold=0.9).passed for topic in topics
            )


def test_the_shipped_charters_share_their_domains(charter):
    assert charter.domains == load_charter("universal").domains


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_system_prompt_is_persona_principles_and_floor(charter, lang):
    prompt = charter.system_prompt(lang)
    lines = prompt.split("\n")
    assert lines[0] == charter.persona.get(lang)
    assert lines[-1] == FLOOR_LINE[lang]
    stated = charter.stated_principles(None)
    assert lines[1:-1] == [f"- {principle.text.get(lang)}" for principle in stated]
    assert answered_in_language("", prompt, lang, threshold=0.95).passed


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("subdomain", ["racial_discrimination", "historical_memory", None])
def test_two_sides_are_asked_for_only_where_the_charter_wants_them(lang, subdomain):
    charter = load_charter("universal")
    both = next(each for each in charter.principles if each.id == "both_sides").text.get(lang)
    assert both not in charter.system_prompt(lang, subdomain)
    assert both in charter.system_prompt(lang, "migration")


def test_the_english_system_prompt_is_short_enough_for_a_small_model(charter):
    # SmolLM2's tokenizer makes about 1.4 tokens of a word here; 180 tokens are the budget.
    for subdomain in charter.subdomains():
        assert len(charter.system_prompt("en", subdomain.id).split()) <= 120


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_grading_text_states_every_floor_rule(charter, lang):
    text = charter.grading_text(lang)
    assert charter.rubric.get(lang) in text
    assert all(rule.text[lang] in text for rule in FLOOR_RULES)


def test_every_principle_of_verifiable_has_a_check_and_one_only_measures():
    principles = load_charter("verifiable").principles
    assert all(principle.checks for principle in principles)
    assert sum(principle.measure_only for principle in principles) == 1


def test_vcllm_puts_accuracy_first_and_says_what_the_paper_leaves_open():
    charter = load_charter("vcllm")
    assert charter.principles[0].id == "accuracy_first"
    unspecified = " ".join(charter.unspecified)
    for word in ("other ten names", "persona", "rubric", "threshold", "sensitive words", "judge"):
        assert word in unspecified
