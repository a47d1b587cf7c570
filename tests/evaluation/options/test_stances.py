import json
from collections import Counter

import numpy as np
import pytest

from vcjax.charter.checks import answered_in_language
from vcjax.core.errors import UserError
from vcjax.core.files import read_jsonl
from vcjax.evaluation.options.stances import STATEMENTS, load_stances


def written(tmp_path, rows, name="list.jsonl"):
    path = tmp_path / name
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def shipped():
    return [record for _, record in read_jsonl(STATEMENTS)]


def size(record):
    """Words in English, characters in Chinese."""
    text = record["question"]
    return len(text.split()) if record["lang"] == "en" else len(text)


def test_the_shipped_statements_are_parallel_and_half_of_each_dimension_is_reversed(shipped):
    for english, chinese in zip(shipped[::2], shipped[1::2], strict=True):
        assert english["id"] == f"{english['parallel_id']}-en"
        assert chinese["id"] == f"{english['parallel_id']}-zh"
        assert chinese["parallel_id"] == english["parallel_id"]
        for field in ("dimension", "sign"):
            assert english[field] == chinese[field]
        for each in (english, chinese):
            assert answered_in_language("", each["question"], each["lang"], threshold=0.7).passed
    cells = Counter((each["dimension"], each["lang"], each["sign"]) for each in shipped)
    assert len(cells) == 6 * 2 * 2
    assert set(cells.values()) == {6}
    items = load_stances("", "", "en")
    assert len({item.question for item in items}) == len(items) == len(shipped)
    ends = Counter((item.dimension, item.lang, item.positions[-1]) for item in items)
    assert set(ends.values()) == {6}


def test_statements_of_both_directions_are_about_as_long(shipped):
    """A model that agrees with what is short must not have a position by that alone."""
    sizes = {}
    for each in shipped:
        cell = sizes.setdefault((each["dimension"], each["lang"]), {1: [], -1: []})
        cell[each["sign"]].append(size(each))
    for cell, directions in sizes.items():
        assert 0.8 < np.mean(directions[1]) / np.mean(directions[-1]) < 1.25, cell
    for lang in ("en", "zh"):
        own = [cell for (_, code), cell in sizes.items() if code == lang]
        totals = {sign: sum(sum(cell[sign]) for cell in own) for sign in (1, -1)}
        assert 0.9 < totals[1] / totals[-1] < 1.1
    for english, chinese in zip(shipped[::2], shipped[1::2], strict=True):
        assert 0.9 < size(chinese) / size(english) < 2.3, english["id"]


def test_statements_name_no_country_people_party_or_faith(shipped):
    """A dimension is a matter of values; whom a statement is about would decide the answer."""
    for each in shipped:
        if each["lang"] == "en":
            assert not any(word[0].isupper() for word in each["question"].split()[1:]), each["id"]


def test_a_list_of_statements_takes_its_options_from_the_config(tmp_path):
    rows = [{"text": "Taxes are too high.", "axis": "economy", "dir": "-1"}]
    columns = "question:text,dimension:axis,sign:dir"
    (item,) = load_stances(written(tmp_path, rows), columns, "en", "No; Perhaps; Yes")
    assert item.options == ("No", "Perhaps", "Yes")
    assert item.positions == (1.0, 0.0, -1.0)
    assert "“Taxes are too high.”" in item.question
    assert item.dimension == "economy"


def test_ordinal_numbers_place_options_and_a_refusal_has_none(tmp_path):
    path = tmp_path / "info.csv"
    path.write_text(
        "key,question,references,option_ordinal\n"
        "K1,\"How safe?\",\"['Very', 'Fairly', 'Not at all', 'Refused']\",\"[1.0, 2.0, 3.0]\"\n",
        encoding="utf-8",
    )
    columns = "id:key,options:references,positions:option_ordinal"
    (item,) = load_stances(str(path), columns, "en")
    assert item.id == "info-K1"
    assert item.positions == (-1.0, 0.0, 1.0, None)
    assert item.question == "How safe?"


def test_shares_of_groups_are_read_as_they_are_published(tmp_path):
    path = tmp_path / "opinions.csv"
    path.write_text(
        "question,selections,options,source\n"
        "\"Which?\",\"defaultdict(<class 'list'>, {'Aland': [0.5, 0.25, 0.25], 'Bland': [0, 0, 0]})"
        "\",\"['One', 'Two', 'Three']\",X\n",
        encoding="utf-8",
    )
    (item,) = load_stances(str(path), "groups:selections,dimension:source", "en")
    assert item.groups == {"Aland": (0.5, 0.25, 0.25)}  # nobody was asked in Bland
    assert item.positions == ()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "Q", "sign": 2}, "sign is 2"),
        ({"question": "Q", "options": ["a", "b"], "positions": [1, 1]}, "two different numbers"),
        ({"question": "Q", "options": ["a", "b"], "positions": "high"}, "positions: not a number"),
        ({"question": "Q", "options": ["a", "b"], "groups": {"G": [1]}}, "'G' has no share"),
        ({"question": "Q", "options": ["a", "b"], "groups": "most"}, "groups: not shares"),
        ({"question": "Q"}, "options: not a list"),
    ],
)
def test_an_item_that_cannot_be_read_is_named_by_file_and_line(tmp_path, row, message):
    with pytest.raises(UserError, match=f"list.jsonl:1: .*{message}"):
        load_stances(written(tmp_path, [row]), "", "en")
