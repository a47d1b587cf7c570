"""Documents are routed by script, by what their record states, and by py3langid, in that order."""

from collections import Counter

import pytest

from vcjax.core.errors import UserError
from vcjax.data.corpus import simplify
from vcjax.data.corpus.document import Document, Removal
from vcjax.data.corpus.language import Language, LanguageSettings, chinese_script, language_of
from vcjax.data.corpus.simplify import Simplify, SimplifySettings, simplified

ENGLISH = "Whereas recognition of the inherent dignity of all members of the human family is the "
SIMPLIFIED = "人人有资格享受本宣言所载的一切权利和自由，不分种族、肤色、性别、语言、宗教。"
TRADITIONAL = "人人有資格享受本宣言所載的一切權利和自由，不分種族、膚色、性別、語言、宗教。"
MIYAZAKI = (
    "宫崎骏的《となりのトトロ》于一九八八年在日本上映，讲述了两姐妹在乡间与精灵相遇的故事，深受观众喜爱，"
    "后来成为吉卜力工作室的标志，影响了几代动画创作者。"
)
JAPANESE = "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。"
FRENCH = "Tous les êtres humains naissent libres et égaux en dignité et en droits."


def document(text, lang="und"):
    return Document(text=text, id="d", source="s", file="f", line=1, lang=lang)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ENGLISH, ("en", "script")),
        (SIMPLIFIED, ("zh", "script")),
        (TRADITIONAL, ("zh", "script")),
        ("请用 Python 的 random 模块写一个程序，生成五个不同的随机数。", ("zh", "script")),
        (MIYAZAKI, ("zh", "script")),
        (JAPANESE, ("ja", "text")),
        (FRENCH, ("fr", "text")),
        ("Alle Menschen sind frei und gleich an Würde und Rechten geboren.", ("de", "text")),
        ("Все люди рождаются свободными и равными в своем достоинстве и правах.", ("ru", "text")),
        ("모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.", ("ko", "text")),
        ("1234 !?", ("und", "script")),
        ("", ("und", "script")),
    ],
)  # fmt: skip
def test_the_language_and_what_decided_it(text, expected):
    assert language_of(text) == expected


def test_a_stated_language_is_believed_where_the_script_allows_it():
    names = "Marie Dubois, Jean Lefèvre, Anne Moreau, Lyon, Marseille"
    assert language_of(names, "fr") == ("fr", "record")
    assert language_of(SIMPLIFIED, "en") == ("zh", "script")
    assert language_of(ENGLISH, "zh") == ("en", "script")


def test_a_long_document_is_judged_by_its_parts():
    assert language_of(ENGLISH * 10 + SIMPLIFIED * 400)[0] == "zh"
    assert language_of(SIMPLIFIED + ENGLISH * 400)[0] == "en"


def test_other_languages_are_removed_and_those_that_stay_are_labelled():
    step, counts = Language(LanguageSettings()), Counter()
    assert step.apply(document(ENGLISH), counts).lang == "en"
    assert step.apply(document(TRADITIONAL), counts).meta == {"script": "Hant"}
    assert step.apply(document(SIMPLIFIED), counts).meta == {"script": "Hans"}
    removal = step.apply(document(FRENCH), counts)
    assert isinstance(removal, Removal)
    assert removal.reason == "language fr"
    assert counts == {
        "decided by script": 3,
        "decided by text": 1,
        "Chinese in Hant": 1,
        "Chinese in Hans": 1,
    }
    believed = document(FRENCH, "en")
    assert step.apply(believed, counts) is believed
    untrusting = Language(LanguageSettings(keep=("en",), trust_stated=False))
    assert isinstance(untrusting.apply(believed, counts), Removal)


def test_the_script_of_chinese_is_that_of_most_of_its_characters():
    assert chinese_script(TRADITIONAL + SIMPLIFIED[:12]) == "Hant"
    assert chinese_script(SIMPLIFIED + TRADITIONAL[:12]) == "Hans"


def test_simplification_asks_for_its_package_and_a_conversion_that_there_is(monkeypatch):
    with pytest.raises(UserError, match="conversion: 't2t' is none of t2s"):
        Simplify(SimplifySettings("t2t"))
    # As where the package isn't installed.
    monkeypatch.setattr(simplify, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="extra 'corpus'"):
        Simplify(SimplifySettings())


def test_traditional_characters_become_simplified_ones_and_all_else_stays():
    step, counts = Simplify(SimplifySettings()), Counter()
    converted = step.apply(document(TRADITIONAL, "zh"), counts)
    assert (converted.text, converted.meta, counts) == (
        SIMPLIFIED,
        {"script": "Hans"},
        {"changed": 1},
    )
    for unchanged in (document(SIMPLIFIED, "zh"), document(TRADITIONAL, "ja")):
        assert step.apply(unchanged, counts) is unchanged


def test_a_character_is_simplified_as_its_word_is():
    # 乾 is two characters, and 发 is both 髮, hair, and 發, to come about.
    assert simplified("乾隆年間，頭髮發乾，資訊") == "乾隆年间，头发发干，资讯"
    assert simplified("資訊", "tw2sp") == "信息"
