"""Next-token loss over packed rows: what is predicted from where, summed and counted."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
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
    parts = _on_devices(summed_cross_entropy, model, hidden, targets, mask)
    return jnp.sum(parts), {"count": jnp.sum(mask)}


def row_losses(
    model: Llama, batch: Mapping[str, Array]
) -> tuple[Float[Array, " batch"], Int[Array, " batch"]]:
    """For each row the loss summed over its tokens to be predicted, in nats, and their number."""
    hidden = model(batch["tokens"], batch["positions"], batch["segment_ids"])
    targets, mask = next_tokens(batch)
    parts = _on_devices(row_cross_entropy, model, hidden, targets, mask)
    return jnp.sum(parts, axis=1), jnp.sum(mask, axis=1)


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


def _on_devices(
    loss: Callable[..., Any], model: Llama, hidden: Array, targets: Array, mask: Array
) -> Float[Array, "parts columns"]:
    """A loss of the tokens of each device by themselves.

    So a device fetches the head once, and gradients of it are summed over devices once: XLA, left
    to itself, does both for every chunk.
    """

    def local(hidden: Array, head: Array, targets: Array, mask: Array) -> Array:
        chunk = max(1, CHUNK // len(hidden))
        return loss(hidden, head, targets, mask, chunk).reshape(-1, 1)

    inputs, on = (hidden, model.head_matrix(), targets, mask), model.on
    if on is None:
        return local(*inputs)
    tokens = on.spec(("batch", "length"), targets.shape)
    over = on.names(*tokens)
    if not over:
        return local(*inputs)
    specs = (tokens, PartitionSpec(), tokens, tokens)
    return jax.shard_map(
        local, mesh=on.mesh, in_specs=specs, out_specs=tokens, axis_names=over, check_vma=False
    )(*inputs)
