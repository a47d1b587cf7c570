"""Examples packed into rows at once, for tests that need all of them."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import NamedTuple

import numpy as np

from vcjax.data.packing import DTYPES, Example, Packer


class Packed(NamedTuple):
    """Rows, each array `[rows, length]`, and the counts."""

    rows: dict[str, np.ndarray]
    summary: dict[str, int | float]


def pack(examples: Iterable[Example], length: int, *, split_long: bool) -> Packed:
    packer = Packer(length, split_long=split_long)
    rows = [row for example in examples for row in packer.add(example)] + packer.finish()
    stacked = {
        name: np.stack([row[name] for row in rows]) if rows else np.zeros((0, length), dtype)
        for name, dtype in DTYPES.items()
    }
    return Packed(stacked, asdict(packer.counts))
