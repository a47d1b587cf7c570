"""Choosing the next token of each slot from its logits, by its own settings and seed.

Penalties come first, then biases, the mask, temperature, top-k, top-p and min-p. What a slot gets
depends on its own logits, counts, settings, seed and step alone: what no slot asks for is skipped,
and what another slot asks for leaves it as it is, to the bit.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt

from vcjax.generate.truncation import truncation_floor

_BLOCK = 256
"""Tokens whose weights are summed before one of them is drawn."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SamplingBatch:
    """The sampling parameters of all slots, as arrays.

    Attributes:
      temperature: divides the logits; 0 takes the most likely allowed token.
      top_k, top_p, min_p: see `vcjax.generate.truncation.truncation_floor`.
      repetition_penalty, presence_penalty, frequency_penalty: see `penalise`.
      seeds, steps: decide the draw.
      bias_ids, bias_values: see `add_biases`.
      mask: a bit for each token that may come next; see `unpack_mask`.
      any_penalised, any_biased, any_masked, any_truncated, any_drawn: whether any slot has a
        penalty, a bias, a mask, a top-k, top-p or min-p, a temperature; otherwise that work is
        skipped.
    """

    temperature: Float[Array, " slots"]
    top_k: Int[Array, " slots"]
    top_p: Float[Array, " slots"]
    min_p: Float[Array, " slots"]
    repetition_penalty: Float[Array, " slots"]
    presence_penalty: Float[Array, " slots"]
    frequency_penalty: Float[Array, " slots"]
    seeds: UInt[Array, " slots"]
    steps: Int[Array, " slots"]
    bias_ids: Int[Array, "slots biases"]
    bias_values: Float[Array, "slots biases"]
    mask: UInt[Array, "slots words"]
    any_penalised: Bool[Array, ""]
    any_biased: Bool[Array, ""]
    any_masked: Bool[Array, ""]
    any_truncated: Bool[Array, ""]
    any_drawn: Bool[Array, ""]


class Drawn(NamedTuple):
    """A token for each slot, with log-probabilities under the plain model at temperature 1;
    on the devices, or on the host.

    Attributes:
      top_ids, top_logprobs: the most likely tokens of the plain model, the most likely first.
    """

    tokens: Int[Any, " slots"]
    logprobs: Float[Any, " slots"]
    top_ids: Int[Any, "slots top"]
    top_logprobs: Float[Any, "slots top"]


def draw(
    logits: Float[Array, "slots vocab"],
    counts: Int[Array, "slots vocab"],
    batch: SamplingBatch,
    top: int = 0,
) -> Drawn:
    """Chooses a token for each slot.

    Args:
      counts: which tokens have occurred; see `count`.
      top: number of most likely tokens to return beside each chosen one.
    """
    adjusted = adjust(logits, counts, batch)
    highest = jnp.max(adjusted, axis=-1, keepdims=True)
    greedy = _first(adjusted == highest)  # of equals the lowest id, as `argmax` takes

    def drawn() -> Array:
        # The largest logit becomes 0 first: a very low temperature must not make it infinite.
        temperature = jnp.maximum(batch.temperature, jnp.finfo(jnp.float32).tiny)
        weights = jnp.exp((adjusted - highest) / temperature[:, None])
        floor = jax.lax.cond(
            batch.any_truncated,
            lambda: truncation_floor(weights, batch.top_k, batch.top_p, batch.min_p),
            lambda: jnp.zeros_like(temperature),
        )
        chosen = _draw_by_weight(weights, floor, _uniforms(batch.seeds, batch.steps))
        return jnp.where(batch.temperature > 0, chosen, greedy)

    tokens = jax.lax.cond(batch.any_drawn, drawn, lambda: greedy)
    # Of the logits as the model gave them: callers compare log-probabilities between requests with
    # other temperatures and penalties.
    total = jax.nn.logsumexp(logits, axis=-1)
    chosen = jnp.take_along_axis(logits, tokens[:, None], axis=-1)[:, 0]
    top_logits, top_ids = jax.lax.top_k(logits, top)
    return Drawn(tokens, chosen - total, top_ids, top_logits - total[:, None])


def pack(drawn: Drawn) -> Int[Array, "slots results"]:
    """What was drawn as one array, so that it is one transfer to the host; see `unpack`."""

    def bits(numbers: Array) -> Array:
        return jax.lax.bitcast_convert_type(numbers, jnp.int32)

    once = jnp.stack([drawn.tokens, bits(drawn.logprobs)], axis=1)
    return jnp.concatenate([once, drawn.top_ids, bits(drawn.top_logprobs)], axis=1)


def unpack(packed: Int[np.ndarray, "slots results"]) -> Drawn:
    """What `pack` was given, on the host."""
    ids, logprobs = np.split(packed[:, 2:], 2, axis=1)
    return Drawn(packed[:, 0], packed[:, 1].view(np.float32), ids, logprobs.view(np.float32))


def count(
    counts: Int[Array, "slots vocab"], tokens: Int[Array, " slots"]
) -> Int[Array, "slots vocab"]:
    """Counts a generated token of each slot.

    Bit 0 of a count is set if the token occurs in the prompt; the other bits count how often it has
    been generated.
    """
    return counts.at[jnp.arange(tokens.shape[0]), tokens].add(2)


# ---------------------------------------------------------------------------------------- logits


def adjust(
    logits: Float[Array, "slots vocab"], counts: Int[Array, "slots vocab"], batch: SamplingBatch
) -> Float[Array, "slots vocab"]:
    """Applies penalties, biases and masks; slots that have none keep their logits to the bit."""
    logits = jax.lax.cond(
        batch.any_penalised,
        lambda logits: penalise(
            logits,
            counts,
            batch.repetition_penalty,
            batch.presence_penalty,
            batch.frequency_penalty,
        ),
        lambda logits: logits,
        logits,
    )
    logits = jax.lax.cond(
        batch.any_biased,
        lambda logits: add_biases(logits, batch.bias_ids, batch.bias_values),
        lambda logits: logits,
        logits,
    )
    return jax.lax.cond(
        batch.any_masked,
        lambda logits: jnp.where(unpack_mask(batch.mask, logits.shape[-1]), logits, -jnp.inf),
        lambda logits: logits,
        logits,
    )


def penalise(
    logits: Float[Array, "slots vocab"],
    counts: Int[Array, "slots vocab"],
    repetition: Float[Array, " slots"],
    presence: Float[Array, " slots"],
    frequency: Float[Array, " slots"],
) -> Float[Array, "slots vocab"]:
    """Makes tokens that have occurred less likely, or more likely where the sign is reversed.

    Args:
      counts: see `count`.
      repetition: divides the positive and multiplies the negative logits of tokens that occur in
        the prompt or were generated (Keskar et al., arXiv 1909.05858); 1 changes nothing.
      presence: subtracted from the logits of generated tokens (OpenAI's definition, as the next).
      frequency: subtracted once for each time that a token was generated.
    """
    # Slots without penalties pass here too, as soon as one slot has some. Their values are the
    # neutral ones, and x / 1, x * 1, x - 0 and x - n * 0 are x in floating point, to the bit.
    generated = counts >> 1
    factor = repetition[:, None]
    repeated = jnp.where(logits > 0, logits / factor, logits * factor)
    logits = jnp.where(counts > 0, repeated, logits)
    once = jnp.where(generated > 0, presence[:, None], 0.0)
    return logits - once - generated * frequency[:, None]


def add_biases(
    logits: Float[Array, "slots vocab"],
    ids: Int[Array, "slots biases"],
    values: Float[Array, "slots biases"],
) -> Float[Array, "slots vocab"]:
    """Adds each value to the logit of its token; ids beyond the vocabulary are ignored."""
    slots = jnp.arange(logits.shape[0])[:, None]
    return logits.at[slots, ids].add(values, mode="drop")


def unpack_mask(bits: UInt[Array, "slots words"], vocab: int) -> Bool[Array, "slots vocab"]:
    """Unpacks 32 tokens a word, lowest bit first (the layout of `llguidance`)."""
    lanes = (bits[:, :, None] >> jnp.arange(32, dtype=jnp.uint32)) & 1
    return lanes.reshape(bits.shape[0], -1)[:, :vocab].astype(bool)


# ----------------------------------------------------------------------------------------- draws


def _uniforms(seeds: UInt[Array, " slots"], steps: Int[Array, " slots"]) -> Float[Array, "slots 2"]:
    """Two numbers from 0 to below 1 for each slot."""

    # A key for each slot and step, not one for the batch: a request draws the same numbers in
    # whichever slot it is, and whatever runs beside it.
    def of_slot(seed: Array, step: Array) -> Array:
        return jax.random.uniform(jax.random.fold_in(jax.random.key(seed), step), (2,))

    return jax.vmap(of_slot)(seeds, steps)


def _draw_by_weight(
    weights: Float[Array, "slots vocab"],
    floor: Float[Array, " slots"],
    uniforms: Float[Array, "slots 2"],
) -> Int[Array, " slots"]:
    """Draws in proportion to the weights that reach the floor: first a block, then a token in it.

    Two short cumulative sums instead of a long one, whose rounding would drown rare tokens.
    """
    slots, vocab = weights.shape
    blocks = -(-vocab // _BLOCK)
    kept = jnp.where(weights >= floor[:, None], weights, 0.0)
    kept = jnp.pad(kept, ((0, 0), (0, blocks * _BLOCK - vocab))).reshape(slots, blocks, _BLOCK)
    block = _invert(jnp.sum(kept, axis=-1), uniforms[:, 0])
    inside = jnp.take_along_axis(kept, block[:, None, None], axis=1)[:, 0]
    return block * _BLOCK + _invert(inside, uniforms[:, 1])


def _invert(
    weights: Float[Array, "slots choices"], uniform: Float[Array, " slots"]
) -> Int[Array, " slots"]:
    """The first choice at which the cumulative share exceeds `uniform`.

    Never one of weight 0, however the sums round.
    """
    sums = jnp.cumsum(weights, axis=-1)
    is_possible = weights > 0
    exceeding = is_possible & (sums > uniform[:, None] * sums[:, -1:])
    last = weights.shape[-1] - 1 - _first(is_possible[:, ::-1])
    return jnp.minimum(_first(exceeding), last)


def _first(marked: Bool[Array, "slots choices"]) -> Int[Array, " slots"]:
    """The index of the first choice that is marked, or of the last choice if none is.

    Several times as fast as `argmax` on a CPU, where a minimum is vectorised and it isn't.
    """
    choices = marked.shape[-1]
    indices = jnp.where(marked, jnp.arange(choices, dtype=jnp.int32), choices - 1)
    return jnp.min(indices, axis=-1)
