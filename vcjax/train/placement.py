"""Where the arrays of a batch lie: rows, or pairs of rows, over a mesh."""

from collections.abc import Mapping

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vcjax.data.packing import DTYPES
from vcjax.parallel import ShardingRules, put


def place_batch(
    batch: Mapping[str, np.ndarray], mesh: Mesh, rules: ShardingRules
) -> dict[str, jax.Array]:
    """Lays a host batch out. Each process has the whole batch and takes its part."""
    return {
        name: put(value, NamedSharding(mesh, batch_spec(name, np.ndim(value), rules)))
        for name, value in batch.items()
    }


def batch_spec(name: str, ndim: int, rules: ShardingRules) -> PartitionSpec:
    """Rows or pairs (axis 0) over the data-parallel axes, so that a pair stays together, and
    tokens (the last axis of `tokens`, `loss_mask`, ...) over `sequence`."""
    if name not in DTYPES:
        return PartitionSpec(rules.batch)
    return PartitionSpec(rules.batch, *[None] * (ndim - 2), rules.length)
