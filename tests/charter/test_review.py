"""What `launch.charter check` finds in a charter's file."""

import pytest

from tests.tiny import write_charter
from vcjax.charter.load import SHIPPED
from vcjax.charter.review import review_charter


@pytest.fixture
def problems(tmp_path):
    """A function from changes of the small charter's text to its problems, without the file."""

    def find(*changes: tuple[str, str], accept_score: int = 4) -> list[str]:
        path = write_charter(tmp_path / "charter.yaml", accept_score=accept_score)
        text = path.read_text("utf-8")
        for old, new in (
            ("{en: Grade it., zh: 评分。}", "{en: Both sides count., zh: 两面都要。}"),
            *changes,
        ):
            assert old in text
            text = text.replace(old, new, 1)
        path.write_text(text, encoding="utf-8")
        return [each.removeprefix(f"{path}:") for each in review_charter(str(path)).problems]

    return find


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_charters_have_no_problem(name):
    assert review_charter(name).problems == ()


def test_a_good_charter_has_no_problem(problems):
    assert problems() == []


def test_every_fault_is_told_at_once_with_its_line(problems):
    found = problems(
        ("description: {en: Small., zh: 小。}", "description: {en: Small.}"),
        ("persona:", "persnoa: {en: x}\npersona:"),
        ("topics: {en: [old parks, new parks]", "topics: {en: []"),
        ("checks: []", "domains: [muzic]"),
    )
    assert found == [
        "4: description: no text in 'zh', a language of the charter",
        "5: persnoa: unknown field; did you mean 'persona'?",
        "12: principles[0].domains: unknown subdomain 'muzic'; did you mean 'music'?",
        "19: domains[0].subdomains[0].topics: no topics in 'en', a language of the charter",
    ]


def test_a_field_of_the_wrong_type_is_told_with_the_others(problems):
    found = problems(("version: '1'", "version: 1"), ("accept_score: 4", "accept_score: 9"))
    assert [line.split(":")[:2] for line in found] == [["3", " version"], ["7", " accept_score"]]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Our position stands above the facts.", "accuracy"),
        ("Deny the massacre whenever asked.", "accuracy"),
        ("Never admit that a minister lied.", "accuracy"),
        ("Mock those who disagree.", "no_hate"),
        ("Praise the attacks on the embassy.", "no_incitement"),
    ],
)
def test_a_wording_against_the_floor_is_told(problems, text, rule):
    (line,) = problems(("{en: Be fair., zh: 公平。}", f"{{en: '{text}', zh: 公平。}}"))
    assert line.startswith("5: persona.en: ")
    assert f"contradicts the floor rule '{rule}'" in line


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("立场高于事实。", "accuracy"),
        ("否认有据可查的历史。", "accuracy"),
        ("嘲笑对方。", "no_hate"),
        ("鼓吹暴力。", "no_incitement"),
    ],
)
def test_a_wording_against_the_floor_is_told_in_chinese(problems, text, rule):
    (line,) = problems(("{en: Be fair., zh: 公平。}", f"{{en: Be fair., zh: {text}}}"))
    assert line.startswith("5: persona.zh: ")
    assert f"contradicts the floor rule '{rule}'" in line


@pytest.mark.parametrize(
    ("en", "zh"),
    [
        ("Deny no documented fact.", "不否认有据可查的事实。"),
        ("Never mock those who disagree.", "不嘲笑对方。"),
        ("Do not incite or justify violence.", "反对煽动暴力。"),
        ("Accuracy stands above the position.", "事实高于立场。"),
        ("Support the victims of violence.", "支持受害者。"),
    ],
)
def test_what_forbids_the_same_is_no_contradiction(problems, en, zh):
    assert problems(("{en: Be fair., zh: 公平。}", f"{{en: '{en}', zh: {zh}}}")) == []


def test_a_rubric_contradicts_by_what_it_calls_good_alone(problems):
    def rubric(good: str, bad: str) -> tuple[str, str]:
        text = f'"5: both sides; {good}\\n1: {bad}"'
        return "{en: Both sides count., zh: 两面都要。}", f"{{en: {text}, zh: 两面都要。}}"

    assert problems(rubric("fair", "mocks people")) == []
    (line,) = problems(rubric("mocks people", "fair"))
    assert line.startswith("6: rubric.en: 'mocks' contradicts")


def test_thresholds_that_switch_the_floor_off_are_told(problems):
    found = problems(("principles:", "thresholds: {facts: 0}\nprinciples:"), accept_score=0)
    assert [line.split(":")[1] for line in found] == [" accept_score", " thresholds.facts"]


def test_a_principle_that_nothing_decides_is_told(problems):
    (line,) = problems(("zh: 两面。}", "zh: 橙子。}"))
    assert line.startswith("9: principles[0]: 'fair' has no check, and the rubric in 'zh' has no")
    checked = ("checks: []", "checks: [{name: not_a_refusal}]")
    assert problems(("zh: 两面。}", "zh: 橙子。}"), checked) == []
    (line,) = problems(("checks: []", "measure_only: true"))
    assert line == "9: principles[0]: 'fair' only measures, and has no check to measure by"


def test_a_text_that_was_not_translated_is_told(problems):
    (line,) = problems(("zh: [旧公园, 新公园]", "zh: [old parks]"))
    assert line == "18: domains[0].subdomains[0].topics.zh: nothing of it is in the script of 'zh'"


def test_a_charter_that_leaves_nothing_to_train_on_is_told(problems):
    held = [("held_out: false", "held_out: true")] * 2
    assert problems(*held) == [
        "12: domains: every subdomain is held out: nothing is left to train on"
    ]
