import json

import pytest

from vcjax.core.errors import UserError
from vcjax.evaluation.measures.choice import ChoiceSettings, load_choices
from vcjax.evaluation.options.rows import as_index, as_options, parse_mapping


@pytest.mark.parametrize(
    "value",
    [
        ["Yes", "No"],
        '["Yes", "No"]',
        "['Yes', 'No']",
        "(A) Yes\n(B) No",
        "A. Yes\nB. No",
        {"text": ["Yes", "No"], "label": ["A", "B"]},
    ],
)
def test_options_are_read_however_they_are_written(value):
    assert as_options(value) == ("Yes", "No")


@pytest.mark.parametrize("value", ["Yes or no", None, 3, {"a": 1}])
def test_what_is_no_list_is_no_options(value):
    with pytest.raises(ValueError, match="not a list"):
        as_options(value)


@pytest.mark.parametrize(
    ("value", "first", "index"),
    [("B", 0, 1), ("(b)", 0, 1), ("7", 0, 1), (1, 0, 1), ("1", 0, 1), (2, 1, 1), (1.0, 0, 1)],
)
def test_an_answer_is_a_text_a_letter_or_a_number(value, first, index):
    assert as_index(value, ("5", "7"), first) == index


@pytest.mark.parametrize("value", ["C", None, 2, -1, True, "", "maybe"])
def test_an_answer_that_is_no_option_is_an_error(value):
    with pytest.raises(ValueError, match="neither"):
        as_index(value, ("5", "7"), 0)


def test_columns_of_csv_are_joined_to_options(tmp_path):
    path = tmp_path / "set.csv"
    path.write_text(
        "prompt,a,b,c,key,topic\nWhich?,x,y,,B,t1\nWhat?,x,y,z,C,t2\n", encoding="utf-8"
    )
    columns = "question:prompt,options:a+b+c,answer:key,category:topic"
    items = load_choices(ChoiceSettings(items=str(path), columns=columns))
    assert [(item.options, item.answer, item.category) for item in items] == [
        (("x", "y"), 1, "t1"),
        (("x", "y", "z"), 2, "t2"),
    ]
    assert len({item.id for item in items}) == 2


def test_answers_that_are_published_apart_are_found_by_id(tmp_path):
    rows = [{"id": 7, "question": "Q?", "options": ["x", "y"], "category": "c"}]
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    (tmp_path / "answers.json").write_text('{"7": {"answer": 1, "category": "c"}}', "utf-8")
    settings = ChoiceSettings(
        items=str(tmp_path / "rows.json"), answers=str(tmp_path / "answers.json"), lang="zh"
    )
    (item,) = load_choices(settings)
    assert (item.id, item.answer, item.lang) == ("rows-7", 1, "zh")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "Q?", "options": ["x"], "answer": 0}, "1 options"),
        ({"question": "Q?", "options": ["x", ""], "answer": 0}, "an option is empty"),
        ({"question": "", "options": ["x", "y"], "answer": 0}, "no question"),
        ({"question": "Q?", "options": ["x", "y"]}, "answer None: neither"),
        ({"question": "Q?", "options": ["x", "y"], "answer": 0, "lang": "fr"}, "neither en nor zh"),
        ([1], "not an object"),
    ],
)
def test_a_row_that_cannot_be_asked_is_named_by_file_and_line(tmp_path, row, message):
    path = tmp_path / "set.jsonl"
    good = {"question": "Q?", "options": ["x", "y"], "answer": "A"}
    path.write_text(f"{json.dumps(good)}\n{json.dumps(row)}\n", encoding="utf-8")
    with pytest.raises(UserError, match=f"set.jsonl:2: .*{message}"):
        load_choices(ChoiceSettings(items=str(path)))


@pytest.mark.parametrize(
    ("text", "message"),
    [("question", "must be OURS:THEIRS"), ("qestion:a", "did you mean"), ("id:a,id:b", "twice")],
)
def test_a_bad_mapping_is_an_error(text, message):
    with pytest.raises(UserError, match=message):
        parse_mapping(text, ("id", "question"), "config.choice.columns")


def test_an_empty_option_before_others_is_an_error_as_letters_would_shift(tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("question,a,b,c,answer\nWhich?,x,,z,C\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"set\.csv:2: an option is empty"):
        load_choices(ChoiceSettings(items=str(path), columns="options:a+b+c"))
