"""Terms in texts: the same as by a regular expression, term by term."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcjax.text import grams
from vcjax.text.terms import LONGEST, Terms

WORDS = ["tax", "taxes", "Poor", "family", "refugees", "移民", "移民局", "家", "a"]
TERMS = [
    "tax",
    "poor famil*",
    "refuge*",
    "移民",
    "移民局",
    "移民 tax",
    "poor",
    "a",
    "famil*",
    "TAX",
]

BETWEEN = [" ", "-", ", ", ".\n", "\n"]


def found(terms, text):
    return sorted(
        (int(each.units.starts[first]), int(term))
        for each in Terms(terms).find(text)
        for first, term in zip(each.first, each.terms, strict=True)
    )


def by_pattern(terms, text):
    result = []
    for index, term in enumerate(terms):
        body = re.sub(r"(?<=\w) (?=\w)", r"[\\s-]*", term.removesuffix("*"))
        if re.search("[a-z]", term[:1].lower()):
            body = r"(?<![a-z])" + body
        if re.search("[a-z*]", term[-1:].lower()):
            body += "[a-z]*" if term.endswith("*") else "(?:e?s)?(?![a-z])"
        # Looked ahead for, so that occurrences may overlap.
        pattern = re.compile(f"(?={body})", re.IGNORECASE)
        result += [(each.start(), index) for each in pattern.finditer(text)]
    return sorted(result)


@settings(deadline=None, max_examples=60)
@given(
    terms=st.lists(st.sampled_from(TERMS), min_size=1, max_size=6),
    parts=st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(BETWEEN))),
)
def test_every_occurrence_is_found_and_nothing_else(terms, parts):
    text = "".join(word + between for word, between in parts)
    assert found(terms, text) == by_pattern(terms, text)


@pytest.mark.parametrize(
    ("term", "text", "count"),
    [
        ("wage", "Wage wages wagers wage-earner", 3),
        ("right wing", "right-wing, right. wing", 1),
        ("U.S.", "the U.S. army", 0),  # punctuation ends a phrase
        ("refugee*", "refuge refugeehood", 1),
        ("自治", "民族区域自治制度，自，治", 1),
        ("AI", "AI said ai", 2),
        ("ＡＢＣ", "abc", 1),
    ],
)
def test_whole_words_in_english_and_anywhere_in_chinese(term, text, count):
    assert len(found([term], text)) == count


def test_tens_of_thousands_of_terms_are_each_found(monkeypatch):
    monkeypatch.setattr("vcjax.text.grams.BLOCK", 1 << 10)
    terms = [f"{a}词{b}" for a in "甲乙丙丁" for b in range(2500)]
    terms += [f"word{n}x" for n in range(10_000)]
    index = Terms(terms)
    for place in (0, 3, 9_999, 10_000, 19_999):
        (block,) = index.find(f"so {terms[place]} it is")
        assert block.terms.tolist() == [place]


def test_a_long_text_is_searched_in_blocks():
    text = "the minimum wage rose. " * (grams.BLOCK // 10)
    assert len(found(["minimum wage"], text)) == grams.BLOCK // 10


@pytest.mark.parametrize("term", ["", " * ", "。", "word " * (LONGEST + 1)])
def test_a_term_that_can_not_be_found_is_an_error(term):
    with pytest.raises(ValueError, match="the term"):
        Terms(["tax", term])
