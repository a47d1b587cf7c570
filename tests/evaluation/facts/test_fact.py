"""Facts: the schema, its errors by file and line, and what the shipped facts promise."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from vcjax.core.errors import UserError
from vcjax.evaluation.facts.fact import FOLDER, Fact, facts_card, facts_hash, load_facts
from vcjax.evaluation.facts.knowledge import classify, deciding_wordings

TEXT = {
    "questions": ["What is the capital of Australia?", "Which city is Australia's capital?"],
    "stem": "The capital of Australia is",
    "true": "Canberra",
    "false": "Sydney",
}
CHINESE = {
    "questions": ["澳大利亚的首都是哪座城市？"],
    "stem": "澳大利亚的首都是",
    "true": "堪培拉",
    "false": "悉尼",
}
FACT = {
    "id": "capital_of-001",
    "relation": "capital_of",
    "topic": "cities",
    "source": "Wikipedia: Canberra",
    "texts": {"en": TEXT, "zh": CHINESE},
}


def write(path: Path, *records: dict) -> str:
    path.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    return str(path)


def test_answers_are_whole_sentences_in_each_language() -> None:
    fact = Fact.model_validate(FACT)
    assert fact.sentences("en") == (
        "The capital of Australia is Canberra.",
        "The capital of Australia is Sydney.",
    )
    assert fact.sentences("zh") == ("澳大利亚的首都是堪培拉。", "澳大利亚的首都是悉尼。")


def test_answers_without_a_stem_stay_as_they_are() -> None:
    text = {**TEXT, "stem": "", "true": "True, True", "false": "False, True"}
    fact = Fact.model_validate({**FACT, "texts": {"en": text}})
    assert fact.sentences("en") == ("True, True", "False, True")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"topik": "cities"}, "topik: unknown field; did you mean 'topic'"),
        ({"source": ""}, "source: "),
        ({"texts": {"en": {**TEXT, "false": "Canberra"}}}, "texts.en: false: is 'Canberra'"),
        ({"texts": {"en": {**TEXT, "questions": ["A?", "A?"]}}}, "questions: one comes twice"),
        ({"texts": {"fr": TEXT}}, "texts.fr"),
        ({"texts": {}}, "texts: "),
    ],
)
def test_a_bad_line_is_named_with_its_field(tmp_path: Path, change: dict, message: str) -> None:
    path = write(tmp_path / "facts.jsonl", FACT, {**FACT, "id": "x", **change})
    with pytest.raises(UserError) as error:
        load_facts(path)
    assert str(error.value).startswith(f"{path}:2: ")
    assert message in str(error.value)


def test_an_id_that_comes_twice_is_refused_across_files(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1.jsonl", FACT), write(tmp_path / "2.jsonl", FACT)
    with pytest.raises(UserError, match=r"2\.jsonl:1: the id 'capital_of-001' comes twice"):
        load_facts(f"{one}, {two}")


def test_the_hash_depends_on_the_facts_and_not_on_their_order() -> None:
    one = Fact.model_validate(FACT)
    two = Fact.model_validate({**FACT, "id": "capital_of-002"})
    assert facts_hash([one, two]) == facts_hash([two, one])
    assert facts_hash([one]) != facts_hash([two])


def test_a_fact_is_known_by_other_wordings_than_the_one_that_is_scored() -> None:
    fact = Fact.model_validate(FACT)
    assert deciding_wordings(fact.texts["en"]) == (1,)
    assert deciding_wordings(fact.texts["zh"]) == (0,)  # there is no other
    assert classify([0.1, 2.0]) == "known"
    assert classify([-0.1, -2.0]) == "wrong"
    assert classify([0.1, -2.0]) == classify([0.0]) == "unsure"


def test_the_shipped_facts_are_many_parallel_and_from_many_places() -> None:
    facts = load_facts()
    card = facts_card(facts)
    assert all(fact.texts.keys() == {"en", "zh"} for fact in facts)
    assert len(facts) >= 600
    assert max(Counter(fact.relation for fact in facts).values()) <= 20
    assert sum(fact.domain is not None for fact in facts) >= len(facts) / 3
    assert all(len(text.questions) >= 3 for fact in facts for text in fact.texts.values())
    assert card["source_read"] == sum(fact.source_read for fact in facts)


def test_no_question_of_a_shipped_fact_has_one_of_its_answers() -> None:
    """Shorter answers, such as the symbol of an element, are letters of other words."""
    for fact in load_facts():
        for lang, text in fact.texts.items():
            least = 3 if lang == "en" else 2
            for answer in (text.true, text.false):
                if len(answer) >= least:
                    asked = " ".join(text.questions).lower()
                    assert answer.lower() not in asked, (fact.id, lang, answer)


def test_true_and_false_answers_are_of_one_form() -> None:
    for fact in load_facts():
        for lang, text in fact.texts.items():
            assert text.true.isdigit() == text.false.isdigit(), (fact.id, lang)
            shorter, longer = sorted((len(text.true), len(text.false)))
            assert longer <= 2.3 * shorter + 2, (fact.id, lang)


def test_neither_answer_is_longer_in_general() -> None:
    """Or a preference for short sentences would be taken for knowledge."""
    for lang in ("en", "zh"):
        texts = [fact.texts[lang] for fact in load_facts()]
        true, false = (sum(len(getattr(t, key)) for t in texts) for key in ("true", "false"))
        assert abs(true - false) <= 0.05 * true


def test_the_card_has_the_counts_of_the_shipped_facts() -> None:
    facts = load_facts()
    counts = facts_card(facts)
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `?([^|`]+?)`?(?: \(`\w\w`\))? \| (\d+) \|$", card, re.MULTILINE))
    expected = {
        "facts": len(facts),
        "in English": counts["languages"]["en"],
        "in Chinese": counts["languages"]["zh"],
        "questions": sum(len(text.questions) for fact in facts for text in fact.texts.values()),
        "topics": len(counts["topics"]),
        "relations": len(counts["relations"]),
        "most facts of one relation": max(counts["relations"].values()),
        "in a sensitive domain": sum(counts["domains"].values()),
        "source_read": counts["source_read"],
        **counts["topics"],
        **counts["domains"],
        **{path.name: len(load_facts(str(path))) for path in FOLDER.glob("*.jsonl")},
    }
    assert {name: int(count) for name, count in rows.items()} == expected
    relations = card.partition("Facts by relation: ")[2].partition(".\n")[0]
    found = {name: int(count) for name, count in re.findall(r"`(\w+)`\s(\d+)", relations)}
    assert found == counts["relations"]


def test_the_released_facts_come_with_their_licence() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    licence = (FOLDER / "LICENSE").read_text(encoding="utf-8")
    assert "license: cc-by-4.0" in card
    assert "SPDX: CC-BY-4.0" in licence
    assert "Creative Commons Attribution 4.0 International Public License" in licence
