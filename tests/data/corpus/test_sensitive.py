"""Sensitive content is counted by kind and noted, and nothing is removed."""

from collections import Counter

import pytest

from vcjax.core.errors import UserError
from vcjax.core.yaml_files import read_mapping
from vcjax.data.corpus.document import Document
from vcjax.data.corpus.sensitive import SHIPPED, Sensitive, SensitiveSettings


def document(text):
    return Document(text=text, id="d", source="s", file="f", line=1, meta={"script": "Hans"})


def test_documents_with_enough_terms_are_reported_and_stay():
    step, counts = Sensitive(SensitiveSettings()), Counter()
    text = "赌场里的赌博与网赌。The Casino sells cocaine, and roulette is legal."
    reported = step.apply(document(text), counts)
    assert reported.text == text
    assert reported.meta == {"script": "Hans", "sensitive": {"gambling": 5}}
    assert counts == {"reported": 1, "gambling": 1}
    mentioned = document("One casino, two scampi and a cocained word: 赌场。")
    assert step.apply(mentioned, counts) is mentioned


def test_each_kind_has_terms_in_both_languages_and_none_is_of_two_kinds():
    kinds = read_mapping(SHIPPED, "shipped", "terms").values()
    assert len(kinds) == 8
    for lang in ("en", "zh"):
        terms = [term for each in kinds for term in each[lang]]
        assert len(set(terms)) == len(terms) >= 80


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("drugs: [a]", "drugs: must have the fields en, zh or both"),
        ("drugs: {fr: [a]}", "drugs: must have the fields en, zh or both"),
        ("drugs: {en: [1]}", "drugs.en: must be a list of terms"),
        ("[a]", "a list of terms is a mapping"),
    ],
)
def test_terms_in_another_form_are_the_users_mistake(tmp_path, text, message):
    (tmp_path / "terms.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        Sensitive(SensitiveSettings(terms=str(tmp_path / "terms.yaml")))


def test_terms_of_the_users_take_the_place_of_the_shipped_ones(tmp_path):
    (tmp_path / "terms.yaml").write_text("tea: {en: [oolong], zh: [乌龙, 乌龙茶]}")
    step = Sensitive(SensitiveSettings(terms=str(tmp_path / "terms.yaml"), least=1))
    assert step.apply(document("乌龙茶 and Oolong, casino"), Counter()).meta["sensitive"] == {
        "tea": 2
    }
