"""What a step minimises: the objectives as functions of a model and a batch, summed and counted.

Sources: Rafailov et al., arXiv 2305.18290 (DPO); Hong et al., arXiv 2403.07691 (ORPO).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vcjax.model.llama import Llama
from vcjax.parallel import partition_spec, shard_count
from vcjax.train.config import TrainConfig
from vcjax.train.cross_entropy import row_cross_entropy, summed_cross_entropy

CHUNK = 512
"""Tokens whose logits a device has in memory at a time."""

MEANS = ("accuracy", "margin", "chosen_log_prob", "rejected_log_prob")
"""What is measured of each pair beside the loss: whether `margin` is above 0; by how much the
chosen answer is ahead, in the terms of the objective; log-probabilities of the answers, in nats."""

Sums = tuple[Float[Array, ""], dict[str, Array]]

Loss = Callable[[Llama, Mapping[str, Array]], Sums]
"""`(model, batch) -> (summed loss, dict of sums)`.

Nothing is divided, so that sums over microbatches, devices and batches can be added. The dict has
`count`, int32, by which the others and the loss are divided in the end: the predicted tokens, or
the pairs for preferences, which have the sums of MEANS too.
"""

_ROWS = ("tokens", "loss_mask", "segment_ids", "positions")


def make_loss(config: TrainConfig) -> Loss:
    """The loss of the config's objective."""
    if config.objective == "dpo":
        return partial(dpo_loss, beta=config.preference.beta)
    if config.objective == "orpo":
        return partial(orpo_loss, odds_weight=config.preference.odds_weight)
    return next_token_loss


def next_token_loss(model: Llama, batch: Mapping[str, Array]) -> Sums:
    """Loss summed over the tokens to be predicted, in nats, and as `count` their number.

    Args:
      batch: `tokens, loss_mask, segment_ids, positions`, each [batch, length]; `loss_mask` is True
        for the tokens that are to be predicted, each from those before it in its segment.
    """
    hidden = model(batch["tokens"], batch["positions"], batch["segment_ids"])
    targets, mask = next_tokens(batch)
    inputs = hidden, model.head_matrix(), targets, mask
    total: Any = summed_cross_entropy(*inputs, _chunk(model, targets), model.mesh)
    return total, {"count": jnp.sum(mask)}


def dpo_loss(model: Llama, batch: Mapping[str, Array], beta: float) -> Sums:
    """-log sigmoid(margin), summed over the pairs (equation 7 of the paper).

    The margin is that of the implicit rewards, `beta * log(p / p_reference)` of an answer.

    Args:
      batch: as for `pair_log_probs`, and `reference`, float32 [pairs, 2]: the log-probabilities
        of the answers under the model that the run began with.

    Returns:
      The sum and a dict of sums: `count`, the number of pairs, and those of MEANS.
    """
    # Sums over an answer's tokens, not means: the reward is of the whole answer, in both models.
    # The reference's were computed once, before the first step: no second model is in memory.
    log_probs, tokens = pair_log_probs(model, batch)
    rewards = beta * (log_probs - batch["reference"])
    margin = rewards[:, 0] - rewards[:, 1]
    # `log_sigmoid` is finite for every finite margin; log(sigmoid(-104)) is -inf in float32.
    return _summed(-jax.nn.log_sigmoid(margin), margin, log_probs, tokens)


def orpo_loss(model: Llama, batch: Mapping[str, Array], odds_weight: float) -> Sums:
    """Loss of the chosen answer and the weighted odds-ratio loss, summed over the pairs (eq. 6).

    As in the paper (eq. 3) an answer's probability is the geometric mean over its tokens, in both
    terms; so each pair weighs the same, however long its answers are. The margin is the log of the
    odds ratio.

    Args:
      batch: as for `pair_log_probs`.

    Returns:
      The sum and a dict of sums: `count`, the number of pairs, and those of MEANS.
    """
    log_probs, tokens = pair_log_probs(model, batch)
    means = log_probs / jnp.maximum(tokens, 1)
    odds = log_odds(means)
    margin = odds[:, 0] - odds[:, 1]
    # The first term is the ordinary loss of the chosen answer: ORPO has no reference model, and
    # without this term nothing would keep both answers from becoming unlikely.
    losses = -means[:, 0] - odds_weight * jax.nn.log_sigmoid(margin)
    return _summed(losses, margin, log_probs, tokens)


def pair_log_probs(
    model: Llama, batch: Mapping[str, Array]
) -> tuple[Float[Array, "pairs 2"], Int[Array, "pairs 2"]]:
    """Log-probabilities of both answers of each pair, in nats, and how many tokens they have.

    Args:
      batch: `tokens, loss_mask, segment_ids, positions`, each [pairs, 2, length], the chosen row
        first; `loss_mask` is True for the tokens of the answer.
    """
    rows = {name: batch[name].reshape(-1, batch[name].shape[-1]) for name in _ROWS}
    hidden = model(rows["tokens"], rows["positions"], rows["segment_ids"])
    targets, mask = next_tokens(rows)
    inputs = hidden, model.head_matrix(), targets, mask
    losses: Any = row_cross_entropy(*inputs, _chunk(model, targets), model.mesh)
    shape = batch["tokens"].shape[:2]
    return -losses.reshape(shape), jnp.sum(mask, axis=1).reshape(shape)


def log_odds(log_prob: Float[Array, "*pairs"]) -> Float[Array, "*pairs"]:
    """log(p / (1 - p)) of log(p).

    `expm1` keeps what `log1p(-exp)` would round away where p is near 1. A p that is 1 in float32
    is taken as the largest number below it, so that neither value nor gradient is infinite.
    """
    # The largest float32 below 1 is 1 - epsneg, and its logarithm -epsneg to all digits.
    below = jnp.minimum(log_prob, -jnp.finfo(jnp.float32).epsneg)
    return below - jnp.log(-jnp.expm1(below))


def next_tokens(
    batch: Mapping[str, Array],
) -> tuple[Int[Array, "batch length"], Bool[Array, "batch length"]]:
    """For each position the token after it, and whether it is predicted from here.

    The last position of a row has none, nor has the last position of a segment.
    """
    segments = batch["segment_ids"]
    # A roll keeps rows as long as they were, and so sharded as they were.
    following = {name: jnp.roll(batch[name], -1, axis=1) for name in batch}
    # The target decides: `loss_mask` marks tokens that are to be predicted, and the first token of
    # a segment is predicted by nothing, as the token before it belongs to another text.
    mask = following["loss_mask"] & (following["segment_ids"] == segments)
    return following["tokens"], mask.at[:, -1].set(False)


def _chunk(model: Llama, targets: Array) -> int:
    """How many columns of a device's rows are CHUNK tokens."""
    rows = len(targets)
    if model.mesh is not None:
        batch, _ = partition_spec(model.mesh, ("batch", "length"), targets.shape)
        # Only rows are counted: each device cuts its own columns into chunks.
        rows //= shard_count(model.mesh, batch)
    return max(1, CHUNK // rows)


def _summed(losses: Array, margin: Array, log_probs: Array, tokens: Array) -> Sums:
    # Padding is pairs without a token; an answer without one makes its pair such a one.
    pairs = jnp.all(tokens > 0, axis=1)
    measured = margin > 0, margin, log_probs[:, 0], log_probs[:, 1]

    def total(values: Array) -> Array:
        # Selected and not multiplied by the mask: 0 times something that isn't finite is NaN.
        return jnp.sum(jnp.where(pairs, values, 0), dtype=jnp.float32)

    sums = {name: total(values) for name, values in zip(MEANS, measured, strict=True)}
    return total(losses), {"count": jnp.sum(pairs), **sums}
