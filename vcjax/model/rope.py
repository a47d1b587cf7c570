"""Rotary position embedding: a registry of frequency rules keyed by `rope_type`.

Source: Su et al., arXiv 2104.09864; the `llama3` rule is that of Meta's Llama 3.1 reference code.
The rotation pairs dimension i with i + head_dim/2, as Hugging Face checkpoints store it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vcjax.core.errors import UserError, suggest


@dataclass(frozen=True)
class RopeConfig:
    """Parameters of the rotation; every number comes from the model's config, never from its name.

    Attributes:
      rope_type: a key of the registry: `default`, `linear` or `llama3`.
      theta: base of the geometric series of wavelengths.
      factor: context extension factor (`linear`, `llama3`).
      low_freq_factor, high_freq_factor: bounds of the blend (`llama3`), in wavelengths per
        original context.
      original_max_position: context length, in tokens, before extension (`llama3`).
    """

    rope_type: str = "default"
    theta: float = 10_000.0
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position: int = 8192

    def __post_init__(self) -> None:
        if self.rope_type not in FREQUENCIES:
            raise UserError(
                f"config.json: rope_type {self.rope_type!r} is not supported "
                f"(supported: {', '.join(FREQUENCIES)}){suggest(self.rope_type, FREQUENCIES)}"
            )


def _default(config: RopeConfig, head_dim: int) -> np.ndarray:
    # float32 as in transformers: an error in a frequency is multiplied by the position.
    exponent = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    return np.float32(1.0) / np.power(np.float32(config.theta), exponent)


def _linear(config: RopeConfig, head_dim: int) -> np.ndarray:
    # Position interpolation (Chen et al., arXiv 2306.15595): dividing every frequency is dividing
    # every position, so that a longer text has no angle that pre-training hasn't seen.
    return _default(config, head_dim) / np.float32(config.factor)


def _llama3(config: RopeConfig, head_dim: int) -> np.ndarray:
    frequency = _default(config, head_dim)
    wavelength = 2 * math.pi / frequency
    low, high = config.low_freq_factor, config.high_freq_factor
    # By how many turns a frequency makes within the original context: one with more than `high` of
    # them measures short distances and is kept; one with fewer than `low` is divided by the factor,
    # as in position interpolation; in between the two are blended, so that no neighbouring
    # frequencies jump.
    smooth = (config.original_max_position / wavelength - low) / (high - low)
    blended = (1 - smooth) * frequency / config.factor + smooth * frequency
    is_long = wavelength > config.original_max_position / low
    is_short = wavelength < config.original_max_position / high
    found = np.where(is_long, frequency / config.factor, blended)
    return np.where(is_short, frequency, found).astype(np.float32)


FREQUENCIES: dict[str, Callable[[RopeConfig, int], np.ndarray]] = {
    "default": _default,
    "linear": _linear,
    "llama3": _llama3,
}


def rotation(
    config: RopeConfig, head_dim: int, positions: Int[Array, "batch length"]
) -> tuple[Float[Array, "batch length half"], Float[Array, "batch length half"]]:
    """Returns cosine and sine of the angle of each position and frequency, in float32."""
    frequency = FREQUENCIES[config.rope_type](config, head_dim)
    # In bfloat16 positions beyond 256 would be rounded to multiples of 2, 4, 8, ...
    angle = positions.astype(jnp.float32)[..., None] * frequency
    return jnp.cos(angle), jnp.sin(angle)


def rotate(
    x: Float[Array, "batch length heads head_dim"],
    cos: Float[Array, "batch length half"],
    sin: Float[Array, "batch length half"],
) -> Float[Array, "batch length heads head_dim"]:
    """Rotates queries or keys. The tables are cast to x's dtype first, as transformers does."""
    cos, sin = cos.astype(x.dtype)[:, :, None], sin.astype(x.dtype)[:, :, None]
    # Halves, not neighbours: the original paper and llama.cpp pair dimensions 2i and 2i + 1. The
    # wrong pairing raises no error, as all shapes fit; it is found by comparing logits alone.
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
