"""Scripts are counted by a table, and the counts are those of the patterns that define them."""

from hypothesis import given, settings
from hypothesis import strategies as st

from vcjax.data.language import HAN, KANA, LATIN, LETTER, count_scripts, guess_language


def counted(text):
    return [len(script.findall(text)) for script in (LETTER, HAN, KANA, LATIN)]


@settings(deadline=None)
@given(st.text() | st.text(st.characters(min_codepoint=0x10000)))
def test_a_table_counts_what_the_patterns_find(text):
    assert count_scripts(text).tolist() == counted(text)


def test_every_plane_is_counted_as_the_patterns_do():
    for start in range(0, 0x110000, 0x1000):
        text = "".join(map(chr, range(start, start + 0x1000, 7)))
        assert count_scripts(text).tolist() == counted(text), hex(start)


def test_guesses():
    assert guess_language("12 + 3 = 15 ... \U0001f600") == "und"
    assert guess_language("Why? \U0001f600") == "en"
    assert guess_language("为什么 Why?") == "zh"
    assert guess_language("これは日本語です") == "und"
    assert guess_language("Почему?") == "und"
