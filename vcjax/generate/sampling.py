"""Choosing the next token of each row from its logits, by its own settings and seed.

What a row gets depends on its own logits, counts, settings, seed and step alone: what no row asks
for is skipped, and what another row asks for leaves it as it is, to the bit.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt

from vcjax.generate.adjust import bias, constrain, penalise
from vcjax.generate.truncate import lowest_kept

_BLOCK = 256
"""Tokens whose weights are summed before one of them is drawn."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Settings:
    """How the rows choose.

    Attributes:
      temperature: divides the logits; 0 takes the most likely allowed token.
      top_k, top_p, min_p: see `vcjax.generate.truncate.lowest_kept`.
      repetition_penalty, presence_penalty, frequency_penalty: see
        `vcjax.generate.adjust.penalise`; 1, 0 and 0 leave the logits as they are.
      seeds, steps: decide the draw.
      bias_ids, bias_values: see `vcjax.generate.adjust.bias`.
      mask: a bit for each token that may come next; see `vcjax.generate.adjust.unpack_mask`.
      penalised, biased, constrained, filtered, drawn: whether any row has a penalty, a bias, a
        mask, a top-k, top-p or min-p, a temperature; otherwise that work is skipped.
    """

    temperature: Float[Array, " rows"]
    top_k: Int[Array, " rows"]
    top_p: Float[Array, " rows"]
    min_p: Float[Array, " rows"]
    repetition_penalty: Float[Array, " rows"]
    presence_penalty: Float[Array, " rows"]
    frequency_penalty: Float[Array, " rows"]
    seeds: UInt[Array, " rows"]
    steps: Int[Array, " rows"]
    bias_ids: Int[Array, "rows biases"]
    bias_values: Float[Array, "rows biases"]
    mask: UInt[Array, "rows words"]
    penalised: Bool[Array, ""]
    biased: Bool[Array, ""]
    constrained: Bool[Array, ""]
    filtered: Bool[Array, ""]
    drawn: Bool[Array, ""]


class Drawn(NamedTuple):
    """A token for each row, with log-probabilities under the plain model at temperature 1.

    Attributes:
      top_ids, top_logprobs: the most likely tokens of the plain model, the likeliest first.
    """

    tokens: Int[Array, " rows"]
    logprobs: Float[Array, " rows"]
    top_ids: Int[Array, "rows top"]
    top_logprobs: Float[Array, "rows top"]


def draw(
    logits: Float[Array, "rows vocab"],
    counts: Int[Array, "rows vocab"],
    settings: Settings,
    top: int = 0,
) -> Drawn:
    """Chooses a token for each row.

    Penalties come first, then biases, the mask, temperature, top-k, top-p and min-p.

    Args:
      counts: which tokens have occurred; see `count`.
      top: how many of the most likely tokens to tell.
    """
    adjusted = _adjusted(logits, counts, settings)
    highest = jnp.max(adjusted, axis=-1, keepdims=True)
    greedy = _first(adjusted == highest)

    def drawn() -> Array:
        # The largest is 0 first: a very low temperature must not make it infinite.
        temperature = jnp.maximum(settings.temperature, jnp.finfo(jnp.float32).tiny)
        weights = jnp.exp((adjusted - highest) / temperature[:, None])
        floor = jax.lax.cond(
            settings.filtered,
            lambda: lowest_kept(weights, settings.top_k, settings.top_p, settings.min_p),
            lambda: jnp.zeros_like(temperature),
        )
        chosen = _pick(weights, floor, _uniforms(settings.seeds, settings.steps))
        return jnp.where(settings.temperature > 0, chosen, greedy)

    tokens = jax.lax.cond(settings.drawn, drawn, lambda: greedy)
    total = jax.nn.logsumexp(logits, axis=-1)
    chosen = jnp.take_along_axis(logits, tokens[:, None], axis=-1)[:, 0]
    top_logits, top_ids = jax.lax.top_k(logits, top)
    return Drawn(tokens, chosen - total, top_ids, top_logits - total[:, None])


def count(
    counts: Int[Array, "rows vocab"], tokens: Int[Array, " rows"]
) -> Int[Array, "rows vocab"]:
    """Counts a generated token of each row.

    Bit 0 of a count says whether a token occurs in the prompt; the rest is how often it has been
    generated.
    """
    return counts.at[jnp.arange(tokens.shape[0]), tokens].add(2)


def _adjusted(
    logits: Float[Array, "rows vocab"], counts: Int[Array, "rows vocab"], settings: Settings
) -> Float[Array, "rows vocab"]:
    logits = jax.lax.cond(
        settings.penalised,
        lambda logits: penalise(
            logits,
            counts,
            settings.repetition_penalty,
            settings.presence_penalty,
            settings.frequency_penalty,
        ),
        lambda logits: logits,
        logits,
    )
    logits = jax.lax.cond(
        settings.biased,
        lambda logits: bias(logits, settings.bias_ids, settings.bias_values),
        lambda logits: logits,
        logits,
    )
    return jax.lax.cond(
        settings.constrained,
        lambda logits: constrain(logits, settings.mask),
        lambda logits: logits,
        logits,
    )


def _uniforms(seeds: UInt[Array, " rows"], steps: Int[Array, " rows"]) -> Float[Array, "rows 2"]:
    """Two numbers from 0 to below 1 for each row."""

    def own(seed: Array, step: Array) -> Array:
        return jax.random.uniform(jax.random.fold_in(jax.random.key(seed), step), (2,))

    return jax.vmap(own)(seeds, steps)


def _pick(
    weights: Float[Array, "rows vocab"],
    floor: Float[Array, " rows"],
    uniforms: Float[Array, "rows 2"],
) -> Int[Array, " rows"]:
    """Draws in proportion to the weights that reach the floor: first a block, then a token in it.

    Two short cumulative sums instead of a long one, whose rounding would drown rare tokens.
    """
    rows, vocab = weights.shape
    blocks = -(-vocab // _BLOCK)
    kept = jnp.where(weights >= floor[:, None], weights, 0.0)
    kept = jnp.pad(kept, ((0, 0), (0, blocks * _BLOCK - vocab))).reshape(rows, blocks, _BLOCK)
    block = _invert(jnp.sum(kept, axis=-1), uniforms[:, 0])
    inside = jnp.take_along_axis(kept, block[:, None, None], axis=1)[:, 0]
    return block * _BLOCK + _invert(inside, uniforms[:, 1])


def _invert(
    weights: Float[Array, "rows choices"], uniform: Float[Array, " rows"]
) -> Int[Array, " rows"]:
    """The first choice at which the cumulative share exceeds `uniform`.

    Never one of weight 0, however the sums round.
    """
    sums = jnp.cumsum(weights, axis=-1)
    possible = weights > 0
    exceeding = possible & (sums > uniform[:, None] * sums[:, -1:])
    last = weights.shape[-1] - 1 - _first(possible[:, ::-1])
    return jnp.minimum(_first(exceeding), last)


def _first(marked: Bool[Array, "rows choices"]) -> Int[Array, " rows"]:
    """The index of the first that is marked, or else of the last one of all.

    Several times as fast as `argmax` on a CPU, where a minimum is vectorised and it isn't.
    """
    choices = marked.shape[-1]
    indices = jnp.where(marked, jnp.arange(choices, dtype=jnp.int32), choices - 1)
    return jnp.min(indices, axis=-1)
