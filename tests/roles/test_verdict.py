"""A grade is exactly valid JSON of its schema, or the answer is unscored."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.roles.role import Reply
from vcjax.roles.verdict import REASON_CHARACTERS, Grade, grade_schema, parse_grade


def reply(text, finish_reason="stop"):
    return Reply(text, finish_reason, 0, 0)


@pytest.mark.parametrize("score", range(6))
def test_a_whole_grade_is_a_score(score):
    text = json.dumps({"reason": "公允。", "score": score})
    assert parse_grade(reply(text)) == Grade(score, None, "公允。")
    assert parse_grade(reply(f" {text}\n")).score == score


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "malformed"),
        ("5", "schema"),
        ("Score: 5", "malformed"),
        ('{"reason": "good", "score": 5', "malformed"),
        ('```json\n{"reason": "good", "score": 5}\n```', "malformed"),
        ('{"reason": "good", "score": 5} {"score": 1}', "malformed"),
        ('{"reason": "good", "score": 0, "score": 5}', "malformed"),
        ('{"reason": "good", "score": ' + "9" * 5000 + "}", "malformed"),
        ("[" * 100_000, "malformed"),
        ('{"score": 5}', "schema"),
        ('{"reason": "good"}', "schema"),
        ('{"reason": "good", "score": "5"}', "schema"),
        ('{"reason": "good", "score": true}', "schema"),
        ('{"reason": "good", "score": 4.5}', "schema"),
        ('{"reason": "good", "score": null}', "schema"),
        ('{"reason": "good", "score": NaN}', "schema"),
        ('{"reason": null, "score": 5}', "schema"),
        ('{"reason": "good", "score": 5, "more": 1}', "schema"),
        ('{"reason": "\\ud800", "score": 5}', "schema"),
        ('{"reason": "good", "score": 6}', "out_of_range"),
        ('{"reason": "good", "score": -1}', "out_of_range"),
    ],
)
def test_anything_else_is_unscored_with_its_reason(text, why):
    grade = parse_grade(reply(text))
    assert grade.score is None
    assert grade.unscored == why


def test_a_grade_that_was_cut_is_unscored_even_where_it_looks_whole():
    grade = parse_grade(reply('{"reason": "good", "score": 5}', "length"))
    assert grade == Grade(None, "length")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_schema_bounds_the_reason_by_language(lang):
    bound = grade_schema(lang)["properties"]["reason"]["maxLength"]
    assert bound == REASON_CHARACTERS[lang]


def test_a_reason_beyond_every_bound_has_its_score_and_is_kept_whole():
    reason = "字" * (2 * max(REASON_CHARACTERS.values()))
    grade = parse_grade(reply(json.dumps({"reason": reason, "score": 3})))
    assert grade == Grade(3, None, reason)


@given(st.text())
def test_free_text_never_becomes_a_score(text):
    assert parse_grade(reply(text)).score is None
