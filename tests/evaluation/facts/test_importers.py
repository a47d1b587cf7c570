"""Published data sets as facts: small made-up files in their layouts."""

import copy
from pathlib import Path

import pytest

from tests.evaluation.facts.published import (
    HALLUQA,
    parrot_item,
    write_halluqa,
    write_parrot,
)
from vcjax.core.errors import UserError
from vcjax.evaluation.facts.fact import fact_paths, left_out, load_facts
from vcjax.evaluation.facts.importers import comparable, read_parrot


def test_a_multiple_choice_question_is_a_fact_that_can_be_claimed(tmp_path: Path) -> None:
    reference = write_parrot(tmp_path / "p.jsonl", [parrot_item(1), parrot_item(2)])
    fact, _ = load_facts(reference)
    [item, _] = read_parrot(tmp_path / "p.jsonl")
    assert fact.texts["en"].questions[0].endswith("(C)drawer 2001\n(D)drawer 3001")
    assert fact.sentence("en", true=True) == "The right answer is: drawer 1001."
    asserted = item.options[item.asserted]
    assert fact.sentence("en", true=False) == f"The right answer is: {asserted}."
    assert item.asserted != "B"
    assert (fact.topic, fact.relation) == ("parrot_anatomy", "parrot_anatomy")
    assert fact_paths(reference) == [tmp_path / "p.jsonl"]


def test_the_id_of_an_item_depends_on_its_text_alone(tmp_path: Path) -> None:
    items = [parrot_item(number) for number in range(3)]
    one = load_facts(write_parrot(tmp_path / "1.jsonl", items))
    two = load_facts(write_parrot(tmp_path / "2.jsonl", items[::-1]))
    assert [fact.id for fact in one] == [fact.id for fact in two][::-1]
    assert len({fact.id for fact in one}) == 3


def test_whole_sentences_that_are_nearest_in_length_are_chosen(tmp_path: Path) -> None:
    reference = write_halluqa(tmp_path / "h.json", HALLUQA)
    [fact] = load_facts(reference)
    assert fact.sentences("zh") == ("灯放在三号房。", "灯放在九号房。")
    assert fact.id == "halluqa-007"
    assert (fact.topic, fact.relation) == ("halluqa_common_knowledge", "halluqa_misleading_hard")
    assert left_out(reference) == 1  # the other one's answers differ too much in length


def test_answers_of_very_different_length_are_not_comparable() -> None:
    assert comparable("12", "120,000", "en") is True
    assert comparable("four days", "five days", "en") is True
    assert comparable("no", "only if the client has agreed to it", "en") is False
    assert comparable("他。", "没有人知道。", "zh") is False


def test_an_item_whose_asserted_option_is_the_right_one_again_is_no_fact(tmp_path: Path) -> None:
    item = parrot_item(1)
    item["base"]["answers"] = "(A)687\n(B)687."
    reference = write_parrot(tmp_path / "p.jsonl", [item, parrot_item(2)])
    assert len(load_facts(reference)) == 1
    assert left_out(reference) == 1


def test_published_and_own_facts_go_together(tmp_path: Path) -> None:
    parrot = write_parrot(tmp_path / "p.jsonl", [parrot_item(1)])
    halluqa = write_halluqa(tmp_path / "h.json", HALLUQA)
    assert len(load_facts(f"shipped, {parrot}, {halluqa}")) == len(load_facts()) + 2
    assert left_out("shipped") == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"correct_letter": "E"}, "p.jsonl:2: base.answers: not options"),
        ({"answers": "no letters"}, "p.jsonl:2: base.answers: not options"),
        ({"subset": "Law & order"}, "p.jsonl:2: base.subset: "),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, change: dict, message: str) -> None:
    bad = parrot_item(2)
    bad["base"] |= change
    reference = write_parrot(tmp_path / "p.jsonl", [parrot_item(1), bad])
    with pytest.raises(UserError) as error:
        load_facts(reference)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Class": "天文"}, "item 1: Class: '天文' is none of"),
        ({"Wrong_Answer1": "", "Wrong_Answer2": " "}, "item 1: needs a 'Best Answer'"),
        ({"Question": ""}, "item 1: Question: "),
    ],
)
def test_a_bad_item_is_named(tmp_path: Path, change: dict, message: str) -> None:
    reference = write_halluqa(tmp_path / "h.json", [copy.deepcopy(HALLUQA[0]) | change])
    with pytest.raises(UserError) as error:
        load_facts(reference)
    assert message in str(error.value)


def test_a_missing_file_and_the_multiple_choice_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_facts("parrot:nowhere.jsonl")
    reference = write_halluqa(tmp_path / "mc.json", [{"question_id": 1, "question": "Question: "}])
    with pytest.raises(UserError, match="item 1: Question: this field is required"):
        load_facts(reference)
