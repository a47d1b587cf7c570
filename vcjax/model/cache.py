"""Keys and values of tokens that were run: laid out as attention's products read them."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from vcjax.model.config import LlamaConfig

Cache = tuple[tuple[Array, Array], ...]
"""Per layer, keys [batch, kv_heads, head_dim, context] and values [batch, kv_heads, context,
head_dim]."""

_CONTEXT_AXES = (3, 2)


def init_cache(config: LlamaConfig, batch: int, context: int, dtype: Any) -> Cache:
    """An empty cache: zeros."""
    kv_heads, size = config.num_kv_heads, config.head_dim
    return tuple(
        (
            jnp.zeros((batch, kv_heads, size, context), dtype),
            jnp.zeros((batch, kv_heads, context, size), dtype),
        )
        for _ in range(config.num_layers)
    )


def context_of(cache: Cache) -> int:
    """Tokens that a row can hold."""
    return cache[0][1].shape[2]


def map_cache(change: Callable[..., Array], *caches: Cache) -> Cache:
    """Applies `change(axis, leaf, ...)` to all keys and all values; `axis` is their context's."""
    return tuple(
        (change(_CONTEXT_AXES[0], *keys), change(_CONTEXT_AXES[1], *values))
        for layers in zip(*caches, strict=True)
        for keys, values in [zip(*layers, strict=True)]
    )
