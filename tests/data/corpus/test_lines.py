"""Lines of a page's frame go; what a text says about them stays."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.data.corpus.document import Document, Removal
from vcjax.data.corpus.lines import Lines, LinesSettings


def apply(text, **settings):
    counts = Counter()
    document = Document(text=text, id="d", source="s", file="f", line=1)
    return Lines(LinesSettings(**settings)).apply(document, counts), counts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A day.\nPlease enable JavaScript.\nA night.", "A day.\nA night."),
        ("今天。\n上一篇：昨天 下一篇：明天\n版权所有 © 2020\n明天。", "今天。\n明天。"),
        ("Founded in 1901[12] by two friends.[citation needed]", "Founded in 1901 by two friends."),
        ("Data:\n" + "QUJD" * 300 + "\nEnd.", "Data:\nEnd."),
    ],
)
def test_lines_of_the_frame_go(text, expected):
    document, counts = apply(text)
    assert document.text == expected
    assert counts["changed"] == 1
    assert counts["lines taken out"] == text.count("\n") - expected.count("\n")


def test_a_paragraph_about_it_stays():
    text = "JavaScript is a language that was made in ten days. " * 5
    document, counts = apply(text)
    assert document.text is text
    assert not counts["changed"]


def test_rules_can_be_off():
    text = "Enable JavaScript.[1]\n" + "A" * 1001
    off = {"page_phrases": False, "citations": False, "longest_word": 2000}
    assert apply(text, **off)[0].text is text


def test_a_document_without_a_line_left_is_removed():
    removal, _ = apply("Please enable JavaScript.\n上一篇")
    assert isinstance(removal, Removal)
    assert removal.reason == "no line is left"


@given(st.lists(st.sampled_from(["a", "上一篇", "use cookies", "[1]", "[", "2]", "\n", "b" * 9])))
def test_what_is_left_stays_as_it_is(pieces):
    once, _ = apply("".join(pieces), longest_word=8)
    if isinstance(once, Document):
        again, counts = apply(once.text, longest_word=8)
        assert again.text == once.text
        assert not counts["changed"]
