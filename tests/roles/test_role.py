"""The alternatives of the numbers in a JSON reply."""

import json
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.roles.role import expected_score, number_alternatives

DIGITS = tuple((str(n), -1.0 - n) for n in range(6))


def cut(text, cuts):
    """`text` in pieces."""
    cuts = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    return [text[a:b] for a, b in pairwise(cuts)]


@given(
    reason=st.text(max_size=30),
    scores=st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 5), max_size=6),
    cuts=st.lists(st.integers(0, 120), max_size=40),
)
def test_every_number_has_the_alternatives_of_the_token_that_begins_it(reason, scores, cuts):
    text = json.dumps({"reason": reason, "more": scores}, ensure_ascii=False)
    tokens = cut(text, cuts)
    chosen = [(token, -0.1) for token in tokens]
    top = [(each, (f"{each[0]}#", -3.0)) for each in chosen]
    found = number_alternatives(chosen, top)
    assert len(found) == len(scores)
    for score, alternatives in zip(scores.values(), found, strict=True):
        (text, logprob), (other, _) = alternatives
        assert text.startswith(str(score))
        assert logprob == -0.1
        assert other == f"{text}#"


def test_the_prefix_of_a_number_in_its_token_is_left_out():
    tokens = [('{"score"', -0.1), (":4", -0.5), ("}", 0.0)]
    top = [(), ((":4", -0.5), (":3", -1.0), (' "4"', -2.0)), ()]
    assert number_alternatives(tokens, top) == ((("4", -0.5), ("3", -1.0)),)


def test_the_chosen_token_is_among_the_alternatives_where_it_was_not_likely():
    tokens = [('{"score"', -0.1), (":4", -9.0), ("}", 0.0)]
    assert number_alternatives(tokens, [(), (("x", -0.1), (":5", -0.2)), ()]) == (
        (("5", -0.2), ("4", -9.0)),
    )


def test_a_digit_in_a_string_is_no_number():
    texts = ['{"reason":"', '5 \\" of 5 ', '\ufffd\ufffd","score":', "2", "}"]
    tokens = [(text, -3.0) for text in texts]
    assert number_alternatives(tokens, [(), DIGITS, (), DIGITS, ()]) == (DIGITS,)


def test_alternatives_are_needed_for_every_token():
    with pytest.raises(ValueError, match="3 tokens, but alternatives for 1"):
        number_alternatives([("{", 0.0)] * 3, [()])


def test_the_expected_score_is_the_mean_by_probability():
    likely = (("4", math.log(0.6)), ("5", math.log(0.3)), ("1", math.log(0.1)))
    assert expected_score(likely, 0, 5) == pytest.approx(0.6 * 4 + 0.3 * 5 + 0.1)


def test_what_is_no_score_does_not_count_and_spellings_of_one_score_do_together():
    scores = (("4", math.log(0.2)), (" 4,", math.log(0.1)), ("2}", math.log(0.1)))
    others = (("9", -0.1), ("45", -0.1), ('"', -0.1), ("-1", -0.1), ("4.5", -0.1), ("", -0.1))
    assert expected_score((*scores, *others), 0, 5) == pytest.approx(3.5)


@pytest.mark.parametrize("alternatives", [(), (("x", -1.0),), (("6", -1.0),), (("3", -math.inf),)])
def test_without_a_score_nothing_is_expected(alternatives):
    assert expected_score(alternatives, 0, 5) is None


@given(st.lists(st.tuples(st.sampled_from("012345"), st.floats(-800, 0)), min_size=1))
def test_the_expected_score_lies_among_the_scores(alternatives):
    numbers = [int(text) for text, _ in alternatives]
    assert min(numbers) - 1e-9 <= expected_score(tuple(alternatives), 0, 5) <= max(numbers) + 1e-9


def test_improbable_scores_are_weighed_against_each_other():
    assert expected_score((("1", -2000.0), ("3", -2000.0)), 0, 5) == pytest.approx(2)
