"""Diversity: known values, and laws that hold for any texts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.adversarial.diversity import Sample, coverage, distinct, self_bleu

texts = st.lists(
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=12).map(tuple), min_size=2, max_size=8
)


def test_distinct_is_the_share_of_n_grams_that_are_new():
    assert distinct([tuple("abab"), tuple("ab")], 1) == 2 / 6
    assert distinct([tuple("abab"), tuple("ab")], 2) == 2 / 4
    assert distinct([("a",)], 2) is None


def test_coverage_is_the_share_of_n_grams_that_selection_kept():
    whole = [tuple("abc"), tuple("cd")]
    assert coverage([tuple("abc")], whole, 2) == 2 / 3
    assert coverage([], whole, 2) == 0
    assert coverage([], [], 2) is None


def test_self_bleu_is_one_for_copies_and_low_for_strangers():
    assert self_bleu([tuple("abcdef")] * 3) == pytest.approx(1)
    strangers = self_bleu([tuple("abcde"), tuple("fghij"), tuple("klmno")])
    # No match at any size: half of one match of 5, 4, 3 and 2 n-grams.
    assert strangers == pytest.approx((0.5**4 / (5 * 4 * 3 * 2)) ** 0.25)
    assert self_bleu([tuple("abc")]) is None


def test_self_bleu_is_papineni_s_bleu_against_all_other_texts():
    found = self_bleu([tuple("abcd"), tuple("abce"), tuple("xbcd")], n=2)
    # abcd: unigrams all known (4/4), bigrams ab, bc, cd (3/3). abce: a, b, c of 4; ab, bc of 3.
    # xbcd: b, c, d of 4; bc, cd of 3. All are of one length.
    second = math.sqrt(3 / 4 * 2 / 3)
    assert found == pytest.approx((1 + second + second) / 3)


def test_a_short_text_is_penalised_for_its_brevity():
    long = tuple("abcdefgh")
    found = self_bleu([long, tuple("abcd")], n=1)
    assert found == pytest.approx((4 / 8 + math.exp(1 - 8 / 4)) / 2)


@given(texts)
def test_figures_are_shares_and_don_t_depend_on_the_order(given_):
    for figure in (self_bleu, lambda each: distinct(each, 1)):
        value = figure(given_)
        assert 0 < value <= 1 + 1e-12
        assert figure(given_[::-1]) == pytest.approx(value)
    assert coverage(given_[:1], given_, 1) <= 1


@given(st.lists(st.integers(0, 10_000), unique=True, max_size=60), st.integers(1, 20))
def test_a_sample_depends_on_the_ids_alone(ids, size):
    first, second = Sample(size), Sample(size)
    for id in ids:
        first.add(str(id), f"text {id}")
    for id in reversed(ids):
        second.add(str(id), f"text {id}")
    assert first.texts() == second.texts()
    assert len(first.texts()) == min(size, len(ids))
    assert set(first.texts()) <= {f"text {id}" for id in ids}
