import json
from collections import Counter
from itertools import combinations
from typing import get_args

import pytest

from vcjax.core.errors import UserError
from vcjax.data.near_duplicates import similarity
from vcjax.evaluation.benchmark import Variants, load_benchmark, load_variants
from vcjax.text.language import Language, is_in_script

ITEMS = load_benchmark().items
VARIANTS = load_variants()


def write(path, *records):
    path.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    return path


def question(id, **fields):
    kinds = {"domain": "technology", "lang": "en"}
    return {"id": id, "parallel_id": id, **kinds, "question": f"Question {id}?", **fields}


def record(item="a", **fields):
    return {"item": item, "paraphrases": ["One?", "Two?"], "opposing": "No?", **fields}


def test_every_shipped_item_has_two_paraphrases_and_an_opposing_framing():
    assert list(VARIANTS) == [item.id for item in ITEMS]
    assert {len(each.paraphrases) for each in VARIANTS.values()} == {2}


@pytest.mark.parametrize("lang", get_args(Language))
def test_the_shipped_variants_are_in_their_items_language(lang):
    own = [VARIANTS[item.id] for item in ITEMS if item.lang == lang]
    texts = [text for each in own for text in (*each.paraphrases, each.opposing)]
    assert texts
    assert not [text for text in texts if not is_in_script(text, lang)]


def test_the_shipped_paraphrases_have_other_words_than_the_question_and_each_other():
    for item in ITEMS:
        for a, b in combinations((item.question, *VARIANTS[item.id].paraphrases), 2):
            assert similarity(a, b) <= 0.4, item.id


def test_nothing_is_shipped_twice():
    texts = Counter(item.question for item in ITEMS)
    for each in VARIANTS.values():
        texts.update([*each.paraphrases, each.opposing])
    assert texts.most_common(1)[0][1] == 1


def test_variants_of_ones_own_are_read_from_beside_the_benchmark(tmp_path):
    own = write(tmp_path / "own.jsonl", question("a"), question("b"))
    assert load_variants(own) == {}
    write(tmp_path / "own.variants.jsonl", record("b"))
    assert load_variants(own) == {"b": Variants("b", ("One?", "Two?"), "No?")}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ([], "a record must be an object, not list"),
        (record("b", oposing="?"), r"unknown field 'oposing'; did you mean 'opposing'\?"),
        ({"item": "b", "paraphrases": ["One?"]}, "field 'opposing' is missing"),
        (record("b", paraphrases="One?"), "field 'paraphrases' must be a list"),
        (record("b", paraphrases=[]), "field 'paraphrases' must be a list of at least one text"),
        (record("b", paraphrases=["One?", 2]), r"field 'paraphrases\[1\]' must be a string"),
        (record("b", opposing=" "), "field 'opposing' is empty"),
        (record("question-c"), r"no item 'question-c'; did you mean 'question-b'\?"),
        (record("a"), r"the variants of 'a' are already at .*own.variants.jsonl:1"),
        (record("b", opposing="Question b?"), "two of the question and its variants are the same"),
        (record("b", paraphrases=["No?"]), "two of the question and its variants are the same"),
    ],
)
def test_a_bad_record_is_named_by_file_and_line(tmp_path, second, message):
    own = write(tmp_path / "own.jsonl", question("a"), question("b"), question("question-b"))
    write(tmp_path / "own.variants.jsonl", record("a"), second)
    with pytest.raises(UserError, match=f"own.variants.jsonl:2: .*{message}"):
        load_variants(own)
