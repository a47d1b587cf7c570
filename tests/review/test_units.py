import json

import pytest

from tests.review.conftest import RUBRIC, SCRIPT, TEXT
from vcjax.core.errors import UserError
from vcjax.core.files import read_jsonl, write_jsonl
from vcjax.review.units import MASK, masked, read_material, unit_order


def test_the_name_of_a_model_is_masked_in_its_own_answer_and_nothing_else(first):
    material = read_material(str(first))
    texts = {unit.item.id: unit.answers[0].text for unit in material.units}
    assert texts["1-en"] == f"I am {MASK}, not a quokka-7bx. {TEXT['en']} {SCRIPT}"
    assert texts["0-zh"] == TEXT["zh"]
    assert material.counts["masked"] == 2
    assert all(unit.item.rubric == RUBRIC[unit.item.lang] for unit in material.units)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a/b-1 and A/B-1!", f"{MASK} and {MASK}!"),
        ("我是qwen，不是qwen2。", f"我是{MASK}，不是qwen2。"),
        ("a.b or a+b", f"a.b or {MASK}"),
    ],
)
def test_names_are_whole_words_in_any_case(text, shown):
    assert masked(text, {"a/b-1", "qwen", "a+b"}) == shown


def test_two_annotators_see_the_same_units_in_two_orders_which_growth_does_not_change(first):
    units = read_material(str(first)).units
    a, b = (unit_order(units, 0, name) for name in "ab")
    assert sorted(a, key=lambda unit: unit.code) == sorted(b, key=lambda unit: unit.code)
    assert a != b
    assert a == unit_order(units, 0, "a")
    assert a != unit_order(units, 1, "a")
    fewer = [unit for unit in a if unit.item.lang == "en"]
    assert fewer == list(unit_order(units[::2], 0, "a"))


def test_a_pair_shows_either_answer_first_and_equal_answers_once(first, second):
    material = read_material(str(first), str(second))
    assert material.are_pairs
    assert material.counts["identical"] == 2
    sides = {
        (unit.answers[0].hash == shown.answers[0].hash)
        for name in "abc"
        for shown in unit_order(material.units, 0, name)
        for unit in material.units
        if unit.code == shown.code and len(unit.answers) == 2
    }
    assert sides == {True, False}


def test_a_sample_is_drawn_whole_and_by_the_seed_alone(first):
    drawn = {seed: read_material(str(first), sample=4, seed=seed).units for seed in (0, 1)}
    assert len(drawn[0]) == len(drawn[1]) == 4
    assert [u.item.id for u in drawn[0]] != [u.item.id for u in drawn[1]]
    assert drawn[0] == read_material(str(first), sample=4).units


def test_the_turns_before_a_question_are_shown(first, tmp_path):
    turns = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi."}]
    records = [record for _, record in read_jsonl(first / "answers.jsonl")]
    records[0]["conversation"] = turns
    write_jsonl(tmp_path / "answers.jsonl", records)
    (tmp_path / "config.json").write_bytes((first / "config.json").read_bytes())
    material = read_material(str(tmp_path))
    asked = {"role": "user", "content": records[0]["question"]}
    assert material.units[0].conversation == (*turns, asked)
    assert len(material.units[1].conversation) == 1
    with pytest.raises(UserError, match="asks another question under the id"):
        read_material(str(first), str(tmp_path))


def test_what_the_model_did_not_answer_is_left_out(first, tmp_path):
    records = [record for _, record in read_jsonl(first / "answers.jsonl")]
    records[0]["finish_reason"] = "timeout"
    records[1]["question"] = "A question that the benchmark no longer has?"
    write_jsonl(tmp_path / "answers.jsonl", records)
    (tmp_path / "config.json").write_bytes((first / "config.json").read_bytes())
    material = read_material(str(tmp_path))
    assert len(material.units) == len(records) - 1
    assert (material.counts["unanswered"], material.counts["without_rubric"]) == (1, 1)
    assert material.units[0].conversation[0]["content"] == records[1]["question"]
    with pytest.raises(UserError, match="asks another question under the id"):
        read_material(str(first), str(tmp_path))


@pytest.mark.parametrize(
    ("config", "says"),
    [(None, "no config.json"), ({"steps": 1}, "no 'model': not the workdir of an evaluation")],
)
def test_a_folder_that_is_no_evaluation_is_named(tmp_path, config, says):
    (tmp_path / "answers.jsonl").write_text("", "utf-8")
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(UserError, match=says):
        read_material(str(tmp_path))
