"""Words and sentences of both languages."""

from vcjax.text.units import bare_sentences, sentences, units


def test_units_are_words_or_chinese_characters():
    assert units("It's a well-known fact: 3 Dogs!", "en") == (
        *("it's", "a", "well-known", "fact", "3", "dogs"),
    )
    assert units("狗，3只 dogs。", "zh") == (*"狗3只dogs",)


def test_sentences_keep_their_end_marks():
    assert sentences("Is it? Yes. \n\nNo!", "en") == ["Is it?", "Yes.", "No!"]
    assert sentences("是吗？是的；不是。", "zh") == ["是吗？", "是的；", "不是。"]


def test_bare_sentences_have_no_end_marks_and_spare_abbreviations():
    assert bare_sentences("See e.g. the U.S. courts. Yes?!", "en") == [
        "See e.g. the U.S. courts",
        "Yes",
    ]
    assert bare_sentences("是吗？！是的；不是。", "zh") == ["是吗", "是的", "不是"]
