"""Choosing the next token of each row: greedy, temperature, top-k, top-p, by the row's own seed."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt


def unpack_mask(bits: UInt[Array, "rows words"], vocab: int) -> Bool[Array, "rows vocab"]:
    """Unpacks 32 tokens a word, lowest bit first (the layout of `llguidance`)."""
    lanes = (bits[:, :, None] >> jnp.arange(32, dtype=jnp.uint32)) & 1
    return lanes.reshape(bits.shape[0], -1)[:, :vocab].astype(bool)


def sample(
    logits: Float[Array, "rows vocab"],
    allowed: Bool[Array, "rows vocab"],
    temperature: Float[Array, " rows"],
    top_k: Int[Array, " rows"],
    top_p: Float[Array, " rows"],
    seeds: UInt[Array, " rows"],
    steps: Int[Array, " rows"],
) -> tuple[Int[Array, " rows"], Float[Array, " rows"]]:
    """Draws one token a row.

    Args:
      allowed: tokens that the row's constraint permits.
      temperature: 0 is greedy (the argmax of the allowed logits).
      top_k: number of most likely tokens to keep; 0 keeps all.
      top_p: probability mass to keep, of what top-k left (Holtzman et al., arXiv 1904.09751).
        Tokens that tie with the last one kept are kept too.
      seeds, steps: the draw depends on these, the row's logits and settings alone.

    Returns:
      Token ids, and their log-probabilities under the unconstrained model at temperature 1.
    """
    masked = jnp.where(allowed, logits, -jnp.inf)
    greedy = jnp.argmax(masked, axis=-1)

    def draw(_: None) -> Array:
        # The largest is 0 first: a very low temperature must not make it infinite.
        largest = jnp.max(masked, axis=-1, keepdims=True)
        scaled = (masked - largest) / jnp.where(temperature > 0, temperature, 1.0)[:, None]
        kept = _nucleus(_most_likely(jax.nn.softmax(scaled, axis=-1), top_k), top_p)
        keys = jax.vmap(lambda seed, step: jax.random.fold_in(jax.random.key(seed), step))(
            seeds, steps
        )
        noise = jax.vmap(lambda key: jax.random.gumbel(key, (logits.shape[-1],)))(keys)
        choice = jnp.argmax(jnp.where(kept > 0, scaled + noise, -jnp.inf), axis=-1)
        return jnp.where(temperature > 0, choice, greedy)

    tokens = jax.lax.cond(jnp.any(temperature > 0), draw, lambda _: greedy, None)
    chosen = jnp.take_along_axis(logits, tokens[:, None], axis=-1)[:, 0]
    return tokens, chosen - jax.nn.logsumexp(logits, axis=-1)


def _most_likely(
    probabilities: Float[Array, "rows vocab"], top_k: Int[Array, " rows"]
) -> Float[Array, "rows vocab"]:
    count = jnp.where(top_k > 0, top_k, probabilities.shape[-1]).astype(jnp.float32)
    floor = _highest_floor(probabilities, jnp.ones_like(probabilities), count)
    kept = jnp.where(probabilities >= floor[:, None], probabilities, 0.0)
    return kept / jnp.sum(kept, axis=-1, keepdims=True)


def _nucleus(
    probabilities: Float[Array, "rows vocab"], top_p: Float[Array, " rows"]
) -> Float[Array, "rows vocab"]:
    floor = _highest_floor(probabilities, probabilities, jnp.minimum(top_p, 1.0))
    # A total that rounds to just under 1 never reaches top_p = 1: the floor is then 0, all kept.
    return jnp.where(probabilities >= floor[:, None], probabilities, 0.0)


def _highest_floor(
    probabilities: Float[Array, "rows vocab"],
    weights: Float[Array, "rows vocab"],
    target: Float[Array, " rows"],
) -> Float[Array, " rows"]:
    """The highest floor such that the weights of probabilities at or above it reach `target`.

    It is never above the largest probability, so the most likely token is always kept.
    Bisects the bit patterns of the floats, which are ordered as the floats are: exact in 31
    passes, without the sort over the vocabulary that costs more on every backend.
    """

    def halve(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = low + (high - low + 1) // 2
        floor = jax.lax.bitcast_convert_type(middle, jnp.float32)
        reached = jnp.sum(jnp.where(probabilities >= floor[:, None], weights, 0.0), axis=-1)
        enough = reached >= target
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle - 1)

    highest = jax.lax.bitcast_convert_type(jnp.max(probabilities, axis=-1), jnp.int32)
    bounds = jnp.zeros_like(highest), highest
    low, _ = jax.lax.fori_loop(0, 31, halve, bounds)
    return jax.lax.bitcast_convert_type(low, jnp.float32)
