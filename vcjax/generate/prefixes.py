"""Which beginnings of prompts the pool holds: a tree of blocks, found by their tokens.

Thousands of prompts begin with the same charter, persona or rubric. A block stands for BLOCK
tokens and all that precede them, so that its keys and values are the same wherever it is found;
the least used leaf goes first when room is needed. (The host's side alone: what the blocks hold
lies with the engine.)

Source: Kwon et al., arXiv 2309.06180 (blocks); Zheng et al., arXiv 2312.07104 (the tree).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

BLOCK = 32
"""Tokens."""


@dataclass(eq=False)
class _Node:
    place: int
    tokens: tuple[int, ...]
    parent: "_Node | None"
    used: int = 0
    children: dict[tuple[int, ...], "_Node"] = field(default_factory=dict)


class Prefixes:
    """The index of a pool of `places` blocks."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.clear()

    def clear(self) -> None:
        """Forgets all: the model has changed."""
        self._root = _Node(-1, (), None)
        self._nodes: dict[int, _Node] = {}
        self._clock = 0

    def find(self, prompt: Sequence[int]) -> list[int]:
        """Places of the blocks that begin the prompt, in order.

        At least one token of the prompt is left over: its logits are still to be computed.
        """
        return [node.place for node in self._path(prompt)]

    def add(self, prompt: Sequence[int]) -> list[int | None]:
        """Takes places for the whole blocks of a prompt that aren't held yet.

        Returns:
          For each block of the prompt its new place, or None where nothing is to be copied: it is
          held already, or there is no room.
        """
        path = self._path(prompt)
        whole = [tuple(block) for block in _blocks(prompt)]
        taken: list[int | None] = [None] * len(whole)
        node = path[-1] if path else self._root
        for index in range(len(path), len(whole)):
            place = self._free()
            if place is None:
                break
            child = _Node(place, whole[index], node, self._clock)
            node.children[whole[index]] = self._nodes[place] = child
            taken[index], node = place, child
        return taken

    def _path(self, prompt: Sequence[int]) -> list[_Node]:
        self._clock += 1
        node, path = self._root, []
        for block in _blocks(prompt):
            child = node.children.get(tuple(block))
            if child is None:
                break
            child.used = self._clock
            path.append(child)
            node = child
        return path

    def _free(self) -> int | None:
        """An empty place, or that of the least used leaf; never one of this moment's prompt."""
        if len(self._nodes) < self.places:
            return len(self._nodes)
        leaves = (node for node in self._nodes.values() if not node.children)
        oldest = min(leaves, key=lambda node: node.used, default=None)
        if oldest is None or oldest.used == self._clock:
            return None
        assert oldest.parent is not None
        del oldest.parent.children[oldest.tokens], self._nodes[oldest.place]
        return oldest.place


def _blocks(prompt: Sequence[int]) -> list[Sequence[int]]:
    """Whole blocks that leave a token over."""
    count = (len(prompt) - 1) // BLOCK
    return [prompt[n * BLOCK : (n + 1) * BLOCK] for n in range(count)]
