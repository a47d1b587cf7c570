"""The table of pages: nobody writes into a page that another reads, and none gets lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.generate.page_table import PageTable
from vcjax.model.attention.paged import PAGE

SLOTS, PAGES, MOST = 3, 7, 5


def prompt(*blocks: int) -> tuple[int, ...]:
    """Whole pages, each of one repeated id, and a token more."""
    return (*np.repeat(blocks, PAGE).tolist(), 9)


class Pool:
    """A table, and what its slots have written into the pages."""

    def __init__(self) -> None:
        self.table = PageTable(SLOTS, PAGES, MOST, has_prefixes=True)
        self.written: dict[int, tuple[int, ...]] = {}
        self.blocks: dict[int, tuple[int, ...]] = {}
        self.numbers: dict[int, int] = {}

    def start(self, slot: int, blocks: tuple[int, ...], more: int) -> None:
        """A request with a prompt of these blocks, as the engine runs it."""
        table, text = self.table, prompt(*blocks)
        number = len(blocks) + more
        kept = table.find(text)
        room = PAGES - len({*kept, *(page for own in self.own().values() for page in own)})
        has_room = table.reserve(slot, number, kept)
        assert has_room == (number - len(kept) <= room)
        if not has_room:
            return
        self.blocks[slot], self.numbers[slot] = blocks, number
        shared = table.share(slot, text)
        row = table.rows[slot].tolist()
        for index in range(shared):
            assert self.written[row[index]] == blocks[: index + 1]
        others = {page for other, own in self.own().items() if other != slot for page in own}
        for index in range(shared, number):
            assert row[index] not in others
            self.written[row[index]] = blocks[: index + 1]
        table.keep(slot, text)

    def own(self) -> dict[int, list[int]]:
        rows = self.table.rows.tolist()
        return {slot: rows[slot][: self.numbers[slot]] for slot in self.blocks}

    def end(self, slot: int) -> None:
        if self.blocks.pop(slot, None) is not None:
            self.table.free(slot)

    def check(self) -> None:
        """What a slot has is what it wrote."""
        for slot, blocks in self.blocks.items():
            row = self.table.rows[slot].tolist()
            for index in range(len(blocks)):
                assert self.written[row[index]] == blocks[: index + 1]


STEPS = st.tuples(
    st.integers(0, SLOTS - 1), st.lists(st.integers(0, 1), min_size=1, max_size=3), st.booleans()
)


@given(st.lists(STEPS, max_size=40), st.booleans())
def test_pages_are_shared_by_equal_prefixes_alone_and_none_is_lost(steps, forgets):
    pool = Pool()
    for slot, blocks, is_long in steps:
        pool.end(slot)
        pool.check()
        pool.start(slot, tuple(blocks), 2 if is_long else 1)
        pool.check()
    for slot in range(SLOTS):
        pool.end(slot)
    if forgets:
        pool.table.forget_prefixes()
    assert pool.table.reserve(0, MOST, [])
    assert pool.table.reserve(1, PAGES - MOST, [])
    first, second, _ = pool.table.rows.tolist()
    assert sorted([*first, *second[: PAGES - MOST]]) == list(range(PAGES))


def test_a_prefix_that_is_in_use_stays_and_one_that_is_not_makes_room():
    table = PageTable(2, 4, 4, has_prefixes=True)
    first = prompt(1, 2)
    assert table.reserve(0, 3, table.find(first))
    table.keep(0, first)
    assert table.reserve(1, 2, []) is False
    table.free(0)
    assert table.reserve(1, 2, table.find(prompt(1, 3)))  # one shared, one free: 2 stays
    assert len(table.find(first)) == 2
    assert table.reserve(0, 2, [])
    assert len(table.find(first)) == 1


@pytest.mark.parametrize("has_prefixes", [True, False])
def test_a_prompt_that_was_run_whole_keeps_its_own_pages(has_prefixes):
    """Such as one that is scored, beside another that starts alike."""
    table = PageTable(2, 6, 3, has_prefixes=has_prefixes)
    for slot in (0, 1):
        assert table.reserve(slot, 3, [])
        table.keep(slot, prompt(1, 2))
    assert len(table.find(prompt(1, 2))) == 2 * has_prefixes
    table.free(0)
    table.free(1)
    assert table.reserve(0, 3, [])
    assert table.reserve(1, 3, [])


def test_a_slot_that_ends_gives_its_pages_back_while_a_longer_prompt_that_starts_alike_runs():
    table = PageTable(2, 8, 4, has_prefixes=True)
    for slot, own in enumerate((prompt(1, 2), prompt(1, 2, 3))):
        assert table.reserve(slot, 3 + slot, [])
        table.keep(slot, own)
    table.free(0)
    assert table.reserve(0, 4, [])
