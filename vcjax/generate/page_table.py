"""Which pages of a pool each slot has: the table of a cache of pages, on the host.

A slot gets all the pages that its request may come to need, so that nothing has to be taken from it
later. Prompts that start alike have the pages of their common prefix together. Once no slot uses a
page, it is free, or stays as a prefix until somebody needs it.

Source: Kwon et al., arXiv 2309.06180.
"""

from collections.abc import Sequence

import numpy as np

from vcjax.generate.prefixes import PrefixTree


class PageTable:
    """The pages of each slot.

    Attributes:
      rows: of each slot the indices of its pages, in the order of its tokens, then zeros.
    """

    def __init__(self, slots: int, pages: int, most: int, *, has_prefixes: bool) -> None:
        """Args:
        pages: of the pool.
        most: pages of the longest sequence.
        has_prefixes: whether prefixes are kept and shared.
        """
        self.rows = np.zeros((slots, most), np.int32)
        self._slots: dict[int, list[int]] = {}
        self._users = np.zeros((pages,), np.int32)  # slots that have each page
        self._free = list(reversed(range(pages)))
        self._prefixes = PrefixTree(pages if has_prefixes else 0)

    @property
    def most_prefix_blocks(self) -> int:
        """Pages that prefixes may take; 0 if none are kept."""
        return self._prefixes.capacity

    def find(self, prompt: Sequence[int]) -> list[int]:
        """The pages that are kept of a prompt's prefix."""
        return self._prefixes.find(prompt)

    def reserve(self, slot: int, number: int, prefix: Sequence[int]) -> bool:
        """Gives a slot so many pages, or none if there are fewer.

        Args:
          prefix: kept pages, which become the slot's first.
        """
        # What nobody uses is free or a prefix that may go; pages of the prefix may not.
        self._users[list(prefix)] += 1
        wanted = number - len(prefix)
        if np.count_nonzero(self._users == 0) < wanted:
            self._users[list(prefix)] -= 1
            return False
        own = [self._take() for _ in range(wanted)]
        self._users[own] += 1
        self._enter(slot, [*prefix, *own])
        return True

    def share(self, slot: int, prompt: Sequence[int]) -> int:
        """Makes what is kept of a prompt's prefix its slot's first pages; returns their number."""
        prefix = self._prefixes.find(prompt)
        before = self._slots[slot]
        self._users[prefix] += 1
        self._enter(slot, [*prefix, *before[len(prefix) :]])
        self._release(before[: len(prefix)])
        return len(prefix)

    def keep(self, slot: int, prompt: Sequence[int]) -> None:
        """Keeps the prefix of a slot's prompt, which is in its pages."""
        own, path = self._slots[slot], self._prefixes.find(prompt)
        # A prefix that is kept already may have been run once more, such as for its scores, into
        # pages of the slot's own. None of these is kept below pages that the slot doesn't use:
        # those could go only after it, and `reserve` counts on every unused page.
        if self.most_prefix_blocks and own[: len(path)] == path:
            self._prefixes.add(prompt, lambda index: own[index])

    def free(self, slot: int) -> None:
        """Takes a slot's pages from it."""
        self._release(self._slots.pop(slot))
        self.rows[slot] = 0

    def forget_prefixes(self) -> None:
        """Keeps no prefix any longer."""
        kept = [page for page in range(len(self._users)) if page in self._prefixes]
        self._prefixes.clear()
        self._free.extend(page for page in kept if not self._users[page])

    def _enter(self, slot: int, pages: list[int]) -> None:
        self._slots[slot] = pages
        self.rows[slot, : len(pages)] = pages

    def _take(self) -> int:
        if self._free:
            return self._free.pop()
        page = self._prefixes.evict(lambda page: not self._users[page])
        assert page is not None  # there are as many as were counted
        return page

    def _release(self, pages: Sequence[int]) -> None:
        self._users[list(pages)] -= 1
        self._free.extend(p for p in pages if not self._users[p] and p not in self._prefixes)
