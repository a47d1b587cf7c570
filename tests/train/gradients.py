"""The gradient of the mean loss, which an update uses."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from vcjax.train.step import make_gradients


def mean_gradients(*arguments) -> Callable:
    """Returns what `make_gradients` does, but the gradient divided by the count."""
    gradients = make_gradients(*arguments)

    def divided(trainable, frozen, batch, drop_key=None):
        means, count, grads = gradients(trainable, frozen, batch, drop_key)
        terms = jnp.maximum(count, 1).astype(jnp.float32)
        return means, count, jax.tree.map(lambda leaf: leaf / terms, grads)

    return divided
