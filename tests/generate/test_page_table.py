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

    def start(self, slot: int, blocks: tuple[int, ...], more: int) -> None:
        """A request with a prompt of these blocks, as the engine runs it."""
        table, text = self.table, prompt(*blocks)
        number = len(blocks) + more
        busy = {int(page) for own in self.own().values() for page in own}
        wanted = number - len(table.find(text))
        if not table.reserve(slot, number, table.find(text)):
            kept = busy | set(table.find(text))
            assert PAGES - len(kept) < wanted
            return
        self.blocks[slot] = blocks
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
        return {slot: list(pages) for slot, pages in self.table._slots.items()}

    def end(self, slot: int) -> None:
        if self.blocks.pop(slot, None) is not None:
            self.table.free(slot)

    def check(self) -> None:
        """What a slot has is what it wrote; a page that is neither in use nor kept is free."""
        for slot, blocks in self.blocks.items():
            row = self.table.rows[slot].tolist()
            for index in range(len(blocks)):
                assert self.written[row[index]] == blocks[: index + 1]
        used = {page for own in self.own().values() for page in own}
        kept = {page for page in range(PAGES) if page in self.table._prefixes}
        assert len(set(self.table._free)) == len(self.table._free)
        assert set(self.table._free) == set(range(PAGES)) - used - kept


STEPS = st.tuples(
    st.integers(0, SLOTS - 1), st.lists(st.integers(0, 1), min_size=1, max_size=3), st.booleans()
)


@given(st.lists(STEPS, max_size=40))
def test_pages_are_shared_by_equal_prefixes_alone_and_none_is_lost(steps):
    pool = Pool()
    for slot, blocks, is_long in steps:
        pool.end(slot)
        pool.check()
        pool.start(slot, tuple(blocks), 2 if is_long else 1)
        pool.check()
    for slot in range(SLOTS):
        pool.end(slot)
    pool.table.forget_prefixes()
    assert sorted(pool.table._free) == list(range(PAGES))


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
