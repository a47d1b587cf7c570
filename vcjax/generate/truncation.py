"""Which tokens may be drawn: top-k, top-p and min-p.

Each rule is a floor under the weights, which are proportional to the probabilities. Tokens that tie
with the last one kept are kept too, and the most likely token always is.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def truncation_floor(
    weights: Float[Array, "slots vocab"],
    top_k: Int[Array, " slots"],
    top_p: Float[Array, " slots"],
    min_p: Float[Array, " slots"],
) -> Float[Array, " slots"]:
    """The weight below which a slot's tokens are dropped, by top-k, then top-p, then min-p.

    Args:
      top_k: number of most likely tokens to keep; 0 keeps all.
      top_p: probability mass to keep, of what top-k kept (Holtzman et al., arXiv 1904.09751);
        1 keeps all.
      min_p: share of the largest probability that a token must have (Nguyen et al., arXiv
        2407.01082); 0 keeps all.
    """
    floor = jnp.zeros_like(top_p)
    floor = jax.lax.cond(jnp.any(top_k > 0), top_k_floor, lambda *_: floor, weights, top_k)
    floor = jax.lax.cond(
        jnp.any(top_p < 1), top_p_floor, lambda *rest: rest[-1], weights, top_p, floor
    )
    return jnp.maximum(floor, min_p * jnp.max(weights, axis=-1))


def top_k_floor(
    weights: Float[Array, "slots vocab"], top_k: Int[Array, " slots"]
) -> Float[Array, " slots"]:
    """The k-th largest weight; 0 for k = 0 and where there are fewer."""

    def enough(floor: Array) -> Array:
        # A float32 counts exactly to 2**24, and faster than an integer on a CPU.
        return jnp.sum(jnp.where(weights >= floor[:, None], 1.0, 0.0), axis=-1) >= top_k

    floor = _highest_floor(enough, jnp.zeros_like(weights[:, 0]), jnp.max(weights, axis=-1))
    return jnp.where(top_k > 0, floor, 0.0)


def top_p_floor(
    weights: Float[Array, "slots vocab"],
    top_p: Float[Array, " slots"],
    floor: Float[Array, " slots"],
) -> Float[Array, " slots"]:
    """The highest floor that leaves `top_p` of the mass above the given one, which it replaces."""

    def mass(floor: Array) -> Array:
        return jnp.sum(jnp.where(weights >= floor[:, None], weights, 0.0), axis=-1)

    target = top_p * mass(floor)
    found = _highest_floor(lambda floor: mass(floor) >= target, floor, jnp.max(weights, axis=-1))
    return jnp.where(top_p < 1, found, floor)


def _highest_floor(
    enough: Callable[[Float[Array, " slots"]], Bool[Array, " slots"]],
    low: Float[Array, " slots"],
    high: Float[Array, " slots"],
) -> Float[Array, " slots"]:
    """The highest floor from `low` to `high` that leaves enough; `low` where none does.

    Bisects the bit patterns of the floats, which are ordered as the floats are: exact in 31
    passes, without the sort over the vocabulary that costs more on every backend.
    """

    # Weights are from 0 to 1, whose bits are the integer 0x3F800000: 31 halvings leave one pattern,
    # and no difference of two overflows.
    def halve(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = low + (high - low + 1) // 2
        left = enough(jax.lax.bitcast_convert_type(middle, jnp.float32))
        return jnp.where(left, middle, low), jnp.where(left, high, middle - 1)

    bounds = tuple(jax.lax.bitcast_convert_type(bound, jnp.int32) for bound in (low, high))
    found, _ = jax.lax.fori_loop(0, 31, halve, bounds)
    return jax.lax.bitcast_convert_type(found, jnp.float32)
