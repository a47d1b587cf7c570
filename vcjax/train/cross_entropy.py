"""Cross-entropy over a large vocabulary, without the scores of all tokens at once.

The scores of some columns of all rows exist at a time, so that each device works on its own rows
of every chunk.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def row_cross_entropy(
    hidden: Float[Array, "batch length hidden"],
    head: Float[Array, "vocab hidden"],
    targets: Int[Array, "batch length"],
    mask: Bool[Array, "batch length"],
    chunk: int,
) -> Float[Array, " batch"]:
    """For each row the sum of -log p(target) where `mask` is True; float32.

    The backward pass computes the scores again.

    Args:
      head: the scores of a token are `head @ hidden`.
      chunk: columns whose scores exist at a time.
    """

    def part(total: Array, piece: tuple[Array, ...]) -> tuple[Array, None]:
        return total + jnp.sum(_losses(head, *piece)[0], axis=1), None

    pieces = _pieces(chunk, hidden, targets, mask)
    zeros = jnp.zeros(len(hidden), jnp.float32)
    return jax.lax.scan(jax.checkpoint(part), zeros, pieces)[0]


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def summed_cross_entropy(
    hidden: Float[Array, "batch length hidden"],
    head: Float[Array, "vocab hidden"],
    targets: Int[Array, "batch length"],
    mask: Bool[Array, "batch length"],
    chunk: int,
) -> Float[Array, ""]:
    """The sum of `row_cross_entropy` over the rows.

    In a sum each token's loss has the same cotangent, so the gradients are formed beside the loss,
    from scores that are there anyway, and the backward pass has but to scale them: the scores are
    computed once, not twice.
    """
    return jnp.sum(row_cross_entropy(hidden, head, targets, mask, chunk))


def _forward(hidden: Array, head: Array, targets: Array, mask: Array, chunk: int) -> tuple:
    def part(so_far: tuple[Array, Array], piece: tuple[Array, ...]) -> tuple:
        hidden, targets, mask = piece
        losses, scores, norm = _losses(head, hidden, targets, mask)
        hits = jnp.arange(len(head)) == targets[..., None]
        errors = (jnp.exp(scores - norm) - hits) * mask[..., None]
        errors = errors.astype(hidden.dtype)
        d_head = jnp.einsum("blv,blh->vh", errors, hidden, preferred_element_type=jnp.float32)
        return (so_far[0] + jnp.sum(losses), so_far[1] + d_head), errors @ head

    start = jnp.zeros((), jnp.float32), jnp.zeros(head.shape, jnp.float32)
    (total, d_head), parts = jax.lax.scan(part, start, _pieces(chunk, hidden, targets, mask))
    d_hidden = jnp.moveaxis(parts, 0, 1).reshape(len(hidden), -1, hidden.shape[2])
    return total, (d_hidden[:, : hidden.shape[1]], d_head.astype(head.dtype))


def _backward(chunk: int, gradients: tuple[Array, Array], cotangent: Array) -> tuple:
    scaled = (gradient * cotangent.astype(gradient.dtype) for gradient in gradients)
    return *scaled, None, None


summed_cross_entropy.defvjp(_forward, _backward)


def _losses(
    head: Array, hidden: Array, targets: Array, mask: Array
) -> tuple[
    Float[Array, "batch columns"],
    Float[Array, "batch columns vocab"],
    Float[Array, "batch columns 1"],
]:
    """Losses, scores and the log of the sum of the scores' exponentials; float32."""
    scores = jnp.einsum("blh,vh->blv", hidden, head, preferred_element_type=jnp.float32)
    norm = jax.nn.logsumexp(scores, axis=-1, keepdims=True)
    found = jnp.take_along_axis(scores, targets[..., None], axis=-1)
    return jnp.where(mask, (norm - found)[..., 0], 0.0), scores, norm


def _pieces(chunk: int, *arrays: Array) -> tuple[Array, ...]:
    """[batch, length, ...] -> [chunks, batch, chunk, ...], padded with zeros at the end."""
    pieces = []
    for array in arrays:
        width = min(chunk, array.shape[1])
        padding = [(0, 0), (0, -array.shape[1] % width)] + [(0, 0)] * (array.ndim - 2)
        split = jnp.pad(array, padding).reshape(len(array), -1, width, *array.shape[2:])
        pieces.append(jnp.moveaxis(split, 1, 0))
    return tuple(pieces)
