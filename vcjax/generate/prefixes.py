"""Which prefixes of prompts the pool of blocks contains: its index on the host.

Thousands of prompts start with the same charter, persona or rubric. Blocks of such prefixes are
kept in a pool on the devices; see `vcjax.generate.cache.DecodeState`.

Source: Zheng et al., arXiv 2312.07104.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from vcjax.model.attention.cached import BLOCK


@dataclass(eq=False)
class _Node:
    block: int
    tokens: tuple[int, ...]
    parent: "_Node | None"
    last_used: int = 0
    children: dict[tuple[int, ...], "_Node"] = field(default_factory=dict)


class PrefixTree:
    """Which prefixes the pool contains: a tree of blocks, found by their tokens.

    A block is found through all the blocks before it, so its keys and values are the same for every
    prompt that finds it. The least recently used leaf is replaced first.
    """

    def __init__(self, capacity: int) -> None:
        """`capacity` is the number of blocks in the pool."""
        self.capacity = capacity
        self.clear()

    def clear(self) -> None:
        """Forgets all blocks, such as when the parameters have changed."""
        self._root = _Node(-1, (), None)
        self._nodes: dict[int, _Node] = {}
        self._clock = 0

    def find(self, prompt: Sequence[int]) -> list[int]:
        """Indices of the pool's blocks that start the prompt, in order.

        They leave at least one token of the prompt to run, since its logits are needed.
        """
        return [node.block for node in self._path(prompt)]

    def __contains__(self, block: int) -> bool:
        """Whether the tree has this block of the pool."""
        return block in self._nodes

    def add(
        self, prompt: Sequence[int], given: Callable[[int], int] | None = None
    ) -> list[int | None]:
        """Assigns blocks of the pool to those of the prompt that aren't there yet.

        Args:
          given: the block in which each of the prompt's already is; None takes free ones.

        Returns:
          For each block of the prompt the index of its new block in the pool, or None if nothing is
          to be copied: it is there already, or the pool is full.
        """
        path = self._path(prompt)
        needed = [tuple(block) for block in _whole_blocks(prompt)]
        assigned: list[int | None] = [None] * len(needed)
        node = path[-1] if path else self._root
        for index in range(len(path), len(needed)):
            block = self._free_block() if given is None else given(index)
            if block is None:
                break
            child = _Node(block, needed[index], node, self._clock)
            node.children[needed[index]] = self._nodes[block] = child
            assigned[index], node = block, child
        return assigned

    def _path(self, prompt: Sequence[int]) -> list[_Node]:
        self._clock += 1
        node, path = self._root, []
        for block in _whole_blocks(prompt):
            child = node.children.get(tuple(block))
            if child is None:
                break
            child.last_used = self._clock
            path.append(child)
            node = child
        return path

    def evict(self, may_go: Callable[[int], bool]) -> int | None:
        """Forgets the least recently used block that may go, and returns it; None if there is none.

        Only leaves go: without an inner block those below it could never be found.
        """
        leaves = (node for node in self._nodes.values() if not node.children and may_go(node.block))
        oldest = min(leaves, key=lambda node: node.last_used, default=None)
        if oldest is None:
            return None
        assert oldest.parent is not None
        del oldest.parent.children[oldest.tokens], self._nodes[oldest.block]
        return oldest.block

    def _free_block(self) -> int | None:
        # An evicted block is assigned again at once, so the indices have no gaps.
        if len(self._nodes) < self.capacity:
            return len(self._nodes)
        # A leaf of this moment is the prompt's own: evicting it would cut the path being added.
        return self.evict(lambda block: self._nodes[block].last_used != self._clock)


def shared_blocks(prompt: Sequence[int], other: Sequence[int]) -> int:
    """Number of blocks that both prompts start with, of those that a pool may keep."""
    pairs = zip(_whole_blocks(prompt), _whole_blocks(other), strict=False)
    return sum(1 for _ in takewhile(lambda pair: tuple(pair[0]) == tuple(pair[1]), pairs))


def _whole_blocks(prompt: Sequence[int]) -> list[Sequence[int]]:
    count = (len(prompt) - 1) // BLOCK
    return [prompt[n * BLOCK : (n + 1) * BLOCK] for n in range(count)]
