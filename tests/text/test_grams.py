"""Units and their n-grams: the same as by regular expressions, whatever the block."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcjax.data.sketches import minhash
from vcjax.text import grams
from vcjax.text.grams import gram_hashes, jaccard_of_grams, prefix_hashes, text_grams, units_of

TEXT = st.text("abcAé1老园。 ，-'_𠀀\n", max_size=60)
_UNIT = re.compile(
    r"[\u3400-\u9fff\U00020000-\U0003134f]|[^\W_\u3400-\u9fff\U00020000-\U0003134f]+"
)


def by_pattern(text: str) -> list[str]:
    return [unit.casefold() for unit in _UNIT.findall(text)]


def sets_of(text: str, n: int) -> set[tuple[str, ...]]:
    units = by_pattern(text)
    n = min(n, len(units))
    return {tuple(units[i : i + n]) for i in range(len(units) - n + 1)} if n else set()


@settings(deadline=None, max_examples=80)
@given(texts=st.lists(TEXT, min_size=1, max_size=4))
def test_units_are_characters_of_chinese_and_words_of_english_in_one_case(texts):
    hash_of: dict[str, int] = {}
    for text in texts:
        found = [
            (text[start:stop].casefold(), value)
            for units in units_of(text)
            for start, stop, value in zip(units.starts, units.ends, units.hashes, strict=True)
        ]
        assert [unit for unit, _ in found] == by_pattern(text)
        for unit, value in found:
            assert hash_of.setdefault(unit, value) == value
    assert len(set(hash_of.values())) == len(hash_of)


@settings(deadline=None, max_examples=80)
@given(a=TEXT, b=TEXT, n=st.integers(1, 4))
def test_the_similarity_of_n_grams_is_that_of_sets_of_words_and_characters(a, b, n):
    ours = jaccard_of_grams(text_grams(a, n), text_grams(b, n))
    left, right = sets_of(a, n), sets_of(b, n)
    assert ours == (len(left & right) / len(left | right) if left | right else 1)


@settings(deadline=None, max_examples=5)
@given(text=TEXT.filter(str.strip))
def test_a_long_text_has_the_same_units_in_blocks(text):
    block = grams.BLOCK
    long = (text + " ") * (2 * block // (len(text) + 1) + 2)
    expected = by_pattern(text) * (len(long) // (len(text) + 1))
    found = [
        long[start:stop].casefold()
        for units in units_of(long)
        for start, stop in zip(units.starts, units.ends, strict=True)
    ]
    assert found == expected


def test_a_prefix_has_the_hash_of_a_word_of_its_own():
    (units,) = units_of("the Refugees' refuge")
    (refuge,) = (each.hashes[0] for each in units_of("refuge"))
    assert (prefix_hashes(units, [6]) == refuge).tolist() == [[False, True, True]]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("ＡＢＣ　１２", "abc 12"),
        ("Straße", "STRAßE"),
        ("民族，关系", "民族 关系"),
        ("don’t", "don't"),
    ],
)
def test_width_case_and_punctuation_do_not_count(a, b):
    assert text_grams(a, 2).tolist() == text_grams(b, 2).tolist()


def test_punctuation_ends_a_phrase_and_a_space_or_hyphen_does_not():
    (units,) = units_of("right-wing parties. 民族，关系 a\nb")
    assert units.phrase.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2]


def test_fewer_units_than_n_are_one_gram_and_none_are_none():
    assert len(text_grams("two words", 5)) == 1
    assert len(text_grams("...", 5)) == len(text_grams("", 5)) == 0
    assert len(gram_hashes(np.arange(2, dtype=np.uint64), 3)) == 0


def test_equal_slots_estimate_the_similarity_with_the_standard_deviation_of_independent_ones():
    rng, slots = np.random.default_rng(0), 144
    for size, similarity in ((60, 0.8), (300, 0.7), (3000, 0.3)):
        shared = round(size * similarity)
        estimates = []
        for _ in range(200):
            drawn = rng.integers(0, 2**64, size, np.uint64)
            half = shared + (size - shared) // 2
            a = minhash(drawn[:half], slots)
            b = minhash(np.concatenate([drawn[:shared], drawn[half:]]), slots)
            estimates.append((a == b).mean())
        true = shared / size
        deviation = (true * (1 - true) / slots) ** 0.5
        assert abs(np.mean(estimates) - true) < 4 * deviation / 200**0.5
        assert np.std(estimates) < 1.25 * deviation


def test_the_sketch_of_many_n_grams_is_that_of_any_order_and_of_repeats():
    drawn = np.random.default_rng(1).integers(0, 2**64, 9000, np.uint64)
    sketch = minhash(drawn, 80)
    assert minhash(np.concatenate([drawn[::-1], drawn[:99]]), 80).tolist() == sketch.tolist()
    assert minhash(drawn[:0], 80).tolist() == [0] * 80
