"""Next-token loss over packed rows: what is predicted from where, summed and counted."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vcjax.model.llama import Llama
from vcjax.train.cross_entropy import row_cross_entropy, summed_cross_entropy

CHUNK = 512
"""Tokens whose scores over the vocabulary a device holds at once."""


def next_token_loss(
    model: Llama, batch: Mapping[str, Array]
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Loss summed over the tokens to be predicted, in nats, and as `count` their number.

    Args:
      batch: `tokens, loss_mask, segment_ids, positions`, each [batch, length]; `loss_mask` says
        which tokens are to be predicted, from what stands before them in their segment.
    """
    hidden = model(batch["tokens"], batch["positions"], batch["segment_ids"])
    targets, mask = next_tokens(batch)
    inputs = hidden, model.head_matrix(), targets, mask
    total: Any = summed_cross_entropy(*inputs, _chunk(model, targets), model.on)
    return total, {"count": jnp.sum(mask)}


def row_losses(
    model: Llama, batch: Mapping[str, Array]
) -> tuple[Float[Array, " batch"], Int[Array, " batch"]]:
    """For each row the loss summed over its tokens to be predicted, in nats, and their number."""
    hidden = model(batch["tokens"], batch["positions"], batch["segment_ids"])
    targets, mask = next_tokens(batch)
    inputs = hidden, model.head_matrix(), targets, mask
    losses: Any = row_cross_entropy(*inputs, _chunk(model, targets), model.on)
    return losses, jnp.sum(mask, axis=1)


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


def _chunk(model: Llama, targets: Array) -> int:
    """How many columns of a device's rows are CHUNK tokens."""
    rows = len(targets)
    if model.on is not None:
        rows //= model.on.parts(model.on.spec(("batch", "length"), targets.shape)[0])
    return max(1, CHUNK // rows)
