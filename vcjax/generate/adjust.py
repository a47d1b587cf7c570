"""What changes logits before a token is chosen: penalties, biases, constraints.

Each function leaves the rows that don't ask for it as they are, to the bit.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt


def penalise(
    logits: Float[Array, "rows vocab"],
    counts: Int[Array, "rows vocab"],
    repetition: Float[Array, " rows"],
    presence: Float[Array, " rows"],
    frequency: Float[Array, " rows"],
) -> Float[Array, "rows vocab"]:
    """Makes tokens that have occurred less likely (or more, as the signs have it).

    Args:
      counts: bit 0 says whether a token occurs in the prompt; the rest is how often it has been
        generated.
      repetition: divides the positive and multiplies the negative logits of tokens that occur in
        the prompt or were generated (Keskar et al., arXiv 1909.05858); 1 leaves them.
      presence: taken from the logits of generated tokens (OpenAI's definition, as the next).
      frequency: taken from them as often as they were generated.
    """
    generated = counts >> 1
    factor = repetition[:, None]
    repeated = jnp.where(logits > 0, logits / factor, logits * factor)
    logits = jnp.where(counts > 0, repeated, logits)
    once = jnp.where(generated > 0, presence[:, None], 0.0)
    return logits - once - generated * frequency[:, None]


def bias(
    logits: Float[Array, "rows vocab"],
    ids: Int[Array, "rows biases"],
    values: Float[Array, "rows biases"],
) -> Float[Array, "rows vocab"]:
    """Adds each value to the logit of its token; ids of the vocabulary's size or above are none."""
    rows = jnp.arange(logits.shape[0])[:, None]
    return logits.at[rows, ids].add(values, mode="drop")


def constrain(
    logits: Float[Array, "rows vocab"], mask: UInt[Array, "rows words"]
) -> Float[Array, "rows vocab"]:
    """Leaves only the tokens whose bits are set; see `unpack_mask`."""
    return jnp.where(unpack_mask(mask, logits.shape[-1]), logits, -jnp.inf)


def unpack_mask(bits: UInt[Array, "rows words"], vocab: int) -> Bool[Array, "rows vocab"]:
    """Unpacks 32 tokens a word, lowest bit first (the layout of `llguidance`)."""
    lanes = (bits[:, :, None] >> jnp.arange(32, dtype=jnp.uint32)) & 1
    return lanes.reshape(bits.shape[0], -1)[:, :vocab].astype(bool)
