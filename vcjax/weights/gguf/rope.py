"""RoPE scaling as GGUF files store it, back to config.json's `rope_scaling`."""

from typing import Any

import numpy as np

from vcjax.core.errors import UserError
from vcjax.model.rope import FREQUENCIES, RopeConfig
from vcjax.weights.gguf.metadata import Metadata

# Divisors of the frequencies, float32 [head_dim / 2].
ROPE_FACTORS = "rope_freqs.weight"


def rope_scaling(
    metadata: Metadata,
    architecture: str,
    theta: float,
    head_dim: int,
    factors: np.ndarray | None,
) -> dict[str, Any] | None:
    """Returns config.json's `rope_scaling`, or None where positions aren't scaled.

    `factors` is the data of the tensor `rope_freqs.weight`, or None where the file has none.

    Raises:
      UserError: partial rotation, another kind of scaling than linear or Llama 3's, or factors
        that don't follow Llama 3.1's rule.
    """
    prefix = f"{architecture}.rope"
    rotated = metadata.optional(f"{prefix}.dimension_count", int)
    if rotated is not None and rotated != head_dim:
        raise UserError(
            f"{metadata.path}: {rotated} of {head_dim} dimensions of a head are rotated "
            f"({prefix}.dimension_count); partial rotation is not supported"
        )
    # A factor without a type is linear scaling; `scale_linear` is its name in older files.
    kind = metadata.optional(f"{prefix}.scaling.type", str) or "linear"
    factor = metadata.optional(f"{prefix}.scaling.factor", float)
    factor = factor or metadata.optional(f"{prefix}.scale_linear", float) or 1.0
    linear = kind == "linear" and factor != 1.0
    if kind not in ("none", "linear") or (linear and factors is not None):
        raise UserError(
            f"{metadata.path}: rope scaling {kind!r}{' with factors' if linear else ''} is not "
            f"supported (supported: none, linear, or Llama 3's tensor {ROPE_FACTORS!r})"
        )
    if factors is not None:
        return _llama3(metadata, theta, head_dim, factors)
    return {"rope_type": "linear", "factor": factor} if linear else None


def _llama3(
    metadata: Metadata, theta: float, head_dim: int, factors: np.ndarray
) -> dict[str, Any] | None:
    """Recovers the parameters of Llama 3.1's rule from its result.

    The tensor doesn't contain them: those that Meta published are tried with the largest divisor as
    the factor, then with the published 8 and 32, which a small `theta` never reaches in full.
    """
    plain = FREQUENCIES["default"](RopeConfig(theta=theta), head_dim)
    for factor in (float(factors.max()), 8.0, 32.0):
        rope = RopeConfig(rope_type="llama3", theta=theta, factor=factor)
        divisors = plain / FREQUENCIES["llama3"](rope, head_dim)
        if factors.shape == divisors.shape and np.allclose(factors, divisors, rtol=1e-4, atol=0):
            break
    else:
        raise UserError(
            f"{metadata.path}: the frequency factors in {ROPE_FACTORS!r} aren't understood: they "
            f"don't follow Llama 3.1's rule with its published parameters"
        )
    if factor == 1.0:  # every frequency is kept
        return None
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": rope.low_freq_factor,
        "high_freq_factor": rope.high_freq_factor,
        "original_max_position_embeddings": rope.original_max_position,
    }
