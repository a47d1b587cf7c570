"""The prefix tree (only what was inserted is found, no block is allocated twice), and windows."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcjax.generate import programs
from vcjax.generate.cache import BLOCK, DecodeState
from vcjax.generate.layout import ModelLayout
from vcjax.generate.prefixes import PrefixTree, shared_blocks

LONGEST = 9000


def tokens(*blocks: int, rest: int = 1) -> tuple[int, ...]:
    """A prompt of whole blocks, each of one repeated id, and a few tokens more."""
    return tuple(np.repeat(blocks, BLOCK).tolist()) + (9,) * rest


def test_a_prompt_finds_the_blocks_that_it_shares_and_no_more():
    prefixes = PrefixTree(8)
    first = prefixes.add(tokens(1, 2, 3))
    assert None not in first
    assert prefixes.find(tokens(1, 2, 4)) == first[:2]
    assert prefixes.find(tokens(2, 2, 3)) == []
    assert prefixes.add(tokens(1, 2, 4))[:2] == [None, None]


def test_a_token_of_the_prompt_is_left_to_run():
    prefixes = PrefixTree(8)
    prefixes.add(tokens(1, 2))
    assert len(prefixes.find(tokens(1, 2, rest=0))) == 1
    assert prefixes.add(tokens(3, rest=0)) == []


def test_the_least_recently_used_prefix_goes_first():
    prefixes = PrefixTree(3)
    prefixes.add(tokens(1, 2))
    prefixes.add(tokens(3))
    prefixes.find(tokens(1, 2))
    prefixes.add(tokens(4))  # replaces 3
    assert prefixes.find(tokens(3)) == []
    assert len(prefixes.find(tokens(1, 2))) == 2


def test_what_does_not_fit_is_kept_as_far_as_there_is_room():
    prefixes = PrefixTree(2)
    assert [block is not None for block in prefixes.add(tokens(1, 2, 3))] == [True, True, False]
    assert PrefixTree(0).add(tokens(1)) == [None]


def test_prompts_share_the_whole_blocks_that_they_start_with():
    assert shared_blocks(tokens(1, 2, 3), tokens(1, 2, 4)) == 2
    assert shared_blocks(tokens(1, 2, rest=0), tokens(1, 2, 4)) == 1  # a token is left to run
    assert shared_blocks(tokens(2), tokens(1)) == shared_blocks((1, 2), (1, 2)) == 0


@pytest.mark.parametrize(
    ("wanted", "most", "run"),
    [(1, 16, 1), (2, 16, 2), (3, 16, 3), (5, 16, 4), (6, 16, 6), (9, 16, 8), (40, 16, 16)],
)
def test_a_batch_of_tiles_is_little_padded(tiny, wanted, most, run):
    layout = ModelLayout(replace(tiny.config, hidden_size=64), jnp.dtype("float32"))
    assert DecodeState(layout, 2, 0).batch_tiles(wanted, most) == run


def test_another_model_finds_nothing():
    prefixes = PrefixTree(2)
    prefixes.add(tokens(1))
    prefixes.clear()
    assert prefixes.find(tokens(1)) == []


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), max_size=30))
def test_a_found_block_is_always_the_one_that_was_copied_there(prompts):
    prefixes, pool = PrefixTree(5), {}
    for blocks in prompts:
        prompt = tokens(*blocks)
        for index, block in enumerate(prefixes.find(prompt)):
            assert pool[block] == tuple(blocks[: index + 1])
        for index, block in enumerate(prefixes.add(prompt)):
            if block is not None:
                assert block < 5
                pool[block] = tuple(blocks[: index + 1])


def test_windows_are_few_and_not_much_too_large(tiny):
    layout = ModelLayout(replace(tiny.config, max_position=LONGEST), jnp.dtype("float32"))
    state = DecodeState(layout, 2, 0)

    @given(st.integers(1, LONGEST))
    def fits(length: int) -> None:
        window = state.window(length)
        assert length <= window <= max(256, 1.5 * length)
        assert window % BLOCK == 0
        assert state.window(window) == window

    fits()
    windows = {state.window(length) for length in range(1, LONGEST + 1)}
    assert windows == {128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 9024}


@pytest.fixture
def state(tiny) -> DecodeState:
    """Four slots of 128 tokens, with numbers in them."""
    state = DecodeState(ModelLayout(tiny.config, jnp.dtype("float32")), 4, 0)
    state.fit(1, empty=True)
    state._cache = jax.tree.map(
        lambda leaf: leaf + 1 + jnp.arange(leaf[0, 0].size).reshape(leaf.shape[2:]), state._cache
    )
    return state


def live_bytes() -> int:
    return sum(leaf.nbytes for leaf in jax.live_arrays())


def test_a_cache_that_grows_or_shrinks_is_never_in_memory_twice(state, monkeypatch):
    resize, peak = programs.resize, 0
    leaves = jax.tree.leaves(state._cache)
    before, leaf, size = [np.asarray(leaf) for leaf in leaves], leaves[0].nbytes, len(leaves)
    del leaves
    beside = live_bytes() - size * leaf

    def watched(*args):
        nonlocal peak
        result = resize(*args)
        peak = max(peak, live_bytes() - beside)
        return result

    monkeypatch.setattr(programs, "resize", watched)
    state.fit(500, empty=False)
    assert state.context == 512
    assert peak <= 4 * size * leaf + leaf
    peak = 0
    while state.context == 512:
        state.fit(100, empty=False)
    assert state.context == 128
    assert peak <= 4 * size * leaf + leaf
    for old, new in zip(before, jax.tree.leaves(state._cache), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_cache_that_cannot_grow_keeps_what_it_has(state, monkeypatch):
    resize, grown = programs.resize, 0
    before = [np.asarray(leaf) for leaf in jax.tree.leaves(state._cache)]

    def failing(mesh, leaf, blocks):
        nonlocal grown
        grown += blocks * BLOCK > 128
        if grown == 3 and blocks * BLOCK > 128:
            raise MemoryError("RESOURCE_EXHAUSTED")
        return resize(mesh, leaf, blocks)

    monkeypatch.setattr(programs, "resize", failing)
    with pytest.raises(MemoryError):
        state.fit(500, empty=False)
    assert state.is_intact
    assert state.context == 128
    for old, new in zip(before, jax.tree.leaves(state._cache), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_cache_that_can_neither_grow_nor_shrink_back_is_lost(state, monkeypatch):
    resize, calls = programs.resize, 0

    def failing(*args):
        nonlocal calls
        calls += 1
        if calls >= 3:
            raise MemoryError("RESOURCE_EXHAUSTED")
        return resize(*args)

    monkeypatch.setattr(programs, "resize", failing)
    with pytest.raises(MemoryError):
        state.fit(500, empty=False)
    assert not state.is_intact
