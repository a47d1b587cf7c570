"""The index of pooled beginnings: what is found was put there, and room is never given twice."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vcjax.generate.prefixes import BLOCK, Prefixes


def tokens(*blocks: int, rest: int = 1) -> tuple[int, ...]:
    """A prompt of whole blocks, each of one repeated id, and a few tokens more."""
    return tuple(np.repeat(blocks, BLOCK).tolist()) + (9,) * rest


def test_a_prompt_finds_the_blocks_that_it_shares_and_no_more():
    prefixes = Prefixes(8)
    first = prefixes.add(tokens(1, 2, 3))
    assert None not in first
    assert prefixes.find(tokens(1, 2, 4)) == first[:2]
    assert prefixes.find(tokens(2, 2, 3)) == []
    assert prefixes.add(tokens(1, 2, 4))[:2] == [None, None]


def test_a_token_of_the_prompt_is_left_to_run():
    prefixes = Prefixes(8)
    prefixes.add(tokens(1, 2))
    assert len(prefixes.find(tokens(1, 2, rest=0))) == 1
    assert prefixes.add(tokens(3, rest=0)) == []


def test_the_least_used_beginning_goes_first():
    prefixes = Prefixes(3)
    prefixes.add(tokens(1, 2))
    prefixes.add(tokens(3))
    prefixes.find(tokens(1, 2))
    prefixes.add(tokens(4))  # in the place of 3
    assert prefixes.find(tokens(3)) == []
    assert len(prefixes.find(tokens(1, 2))) == 2


def test_what_does_not_fit_is_kept_as_far_as_there_is_room():
    prefixes = Prefixes(2)
    assert [place is not None for place in prefixes.add(tokens(1, 2, 3))] == [True, True, False]
    assert Prefixes(0).add(tokens(1)) == [None]


def test_another_model_finds_nothing():
    prefixes = Prefixes(2)
    prefixes.add(tokens(1))
    prefixes.clear()
    assert prefixes.find(tokens(1)) == []


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), max_size=30))
def test_a_found_place_always_holds_the_block_that_was_copied_there(prompts):
    prefixes, pool = Prefixes(5), {}
    for blocks in prompts:
        prompt = tokens(*blocks)
        for index, place in enumerate(prefixes.find(prompt)):
            assert pool[place] == tuple(blocks[: index + 1])
        for index, place in enumerate(prefixes.add(prompt)):
            if place is not None:
                assert place < 5
                pool[place] = tuple(blocks[: index + 1])
