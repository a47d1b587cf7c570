"""Next-token cross-entropy over packed rows, summed by row and counted, in chunks."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from vcjax.model.llama import Llama

CHUNK = 1024
"""Tokens whose scores over the vocabulary are held at once."""


def next_token_loss(
    model: Llama, batch: Mapping[str, Array]
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Loss summed over the tokens to be predicted, in nats, and as `count` their number.

    Args:
      batch: `tokens, loss_mask, segment_ids, positions`, each [batch, length]; `loss_mask` says
        which tokens are to be predicted, from what stands before them in their segment.
    """
    losses, counts = row_losses(model, batch)
    return jnp.sum(losses), {"count": jnp.sum(counts)}


def row_losses(
    model: Llama, batch: Mapping[str, Array]
) -> tuple[Float[Array, " batch"], Int[Array, " batch"]]:
    """For each row the loss summed over its tokens to be predicted, in nats, and their number."""
    hidden = model(batch["tokens"], batch["positions"], batch["segment_ids"])
    targets, mask = next_tokens(batch)
    return row_cross_entropy(model.logits, hidden, targets, mask), jnp.sum(mask, axis=1)


def next_tokens(
    batch: Mapping[str, Array],
) -> tuple[Int[Array, "batch length"], Bool[Array, "batch length"]]:
    """For each place the token after it, and whether it is predicted from here.

    The last place of a row has none, nor has the last place of a segment.
    """
    segments = batch["segment_ids"]
    following = {name: jnp.roll(batch[name], -1, axis=1) for name in batch}
    mask = following["loss_mask"] & (following["segment_ids"] == segments)
    return following["tokens"], mask.at[:, -1].set(False)


def row_cross_entropy(
    logits_of: Callable[[Array], Array],
    hidden: Float[Array, "batch length hidden"],
    targets: Int[Array, "batch length"],
    mask: Bool[Array, "batch length"],
    chunk: int = CHUNK,
) -> Float[Array, " batch"]:
    """For each row the sum of -log p(target) where `mask` is True; float32.

    The scores of about `chunk` tokens exist at a time, in the backward pass too, where they are
    computed again. A chunk is some columns of all rows, so that each device works on its own rows
    of every chunk.
    """

    def part(total: Array, piece: tuple[Array, Array, Array]) -> tuple[Array, None]:
        hidden, targets, mask = piece
        losses = optax.softmax_cross_entropy_with_integer_labels(logits_of(hidden), targets)
        return total + jnp.sum(jnp.where(mask, losses, 0.0), axis=1), None

    rows, length = targets.shape
    columns = max(1, chunk // rows)
    zeros = jnp.zeros(rows, jnp.float32)
    if columns >= length:
        return part(zeros, (hidden, targets, mask))[0]
    pieces = tuple(_columns(array, columns) for array in (hidden, targets, mask))
    return jax.lax.scan(jax.checkpoint(part), zeros, pieces)[0]


def _columns(array: Array, columns: int) -> Array:
    """[batch, length, ...] -> [chunks, batch, columns, ...], padded with zeros at the end."""
    padding = [(0, 0), (0, -array.shape[1] % columns)] + [(0, 0)] * (array.ndim - 2)
    padded = jnp.pad(array, padding)
    split = padded.reshape(array.shape[0], -1, columns, *array.shape[2:])
    return jnp.moveaxis(split, 1, 0)
