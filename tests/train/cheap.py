"""A loss that compiles at once, for tests of what a step does with a gradient."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

FINE, BAD_LOSS, BAD_GRADIENT = range(3)


def cheap_loss(model, batch):
    """A wave over every parameter; `tokens` say which part of it isn't finite, if any."""
    leaves = jax.tree.leaves(nnx.state(model))
    waves = sum(jnp.sum(jnp.sin(3.0 * leaf)) for leaf in leaves)
    kind = batch["tokens"][0, 0]
    # The slope of a root at 0 is infinite, its value isn't.
    root = jnp.sqrt(jnp.where(kind == BAD_GRADIENT, 0.0 * waves, 1.0))
    loss = waves + root + jnp.where(kind == BAD_LOSS, jnp.nan, 0.0)
    return loss, {"count": jnp.int32(8)}


def cheap_batch(kind=FINE, rows=8):
    """A batch for `cheap_loss`."""
    ones = np.ones((rows, 2), np.int32)
    return {"tokens": ones * kind, "loss_mask": ones > 0, "segment_ids": ones, "positions": ones}
