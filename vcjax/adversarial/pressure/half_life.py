"""How soon a gain is lost in further training: what is left of it, and when half of it is gone.

A gain is how many fewer facts a model gives up than another one. Facts are what was drawn, so the
intervals are over facts; that of the half-life is by the bootstrap (Efron 1979, Annals of
Statistics 7: 1-26).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from vcjax.stats.intervals import crossed_mean, interval_record

CONFIDENCE = 0.95
_DIFFERENCE = (-1.0, 1.0)


def half_life(
    steps: Sequence[int],
    gains: Float[np.ndarray, "checkpoints facts"],
    *,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    resamples: int = 9999,
) -> dict[str, Any]:
    """After how many steps half of the mean gain is gone, interpolated between checkpoints.

    Returns `{shown, value, low, high, n, last}`: `shown` is whether there is a gain at all at the
    first checkpoint, by its interval; without one `value` is None. `value`, `low` and `high` are
    steps; a None beside a gain that is shown is beyond `last`, the last checkpoint.

    Args:
      steps: of the checkpoints, rising; the first one is the model before the further training.
      gains: of each fact at each checkpoint, from -1 to 1.

    Raises:
      ValueError: not one row for each checkpoint, or fewer than two checkpoints.
    """
    if len(steps) != len(gains) or len(steps) < 2:
        raise ValueError(f"{len(steps)} checkpoints, but {len(gains)} rows of gains")
    facts, last = gains.shape[1], steps[-1]
    first = crossed_mean(gains[:1], scale=_DIFFERENCE, confidence=confidence, seed=seed)
    found: dict[str, Any] = {"shown": bool(first.low is not None and first.low > 0)}
    found |= {"value": None, "low": None, "high": None, "n": facts, "last": last}
    if not found["shown"]:
        return found
    times = np.asarray(steps, np.float64)
    # To draw facts with replacement is to draw how often each one comes: counts are multinomial,
    # and all resamples are one matmul.
    drawn = np.random.default_rng(seed).multinomial(facts, np.full(facts, 1 / facts), resamples)
    # A resample's facts are the same at every checkpoint: its curve moves as a whole, as the real
    # one did.
    lives = _lives(times, drawn @ gains.T / facts)
    tail = (1 - confidence) / 2
    # By rank, not interpolated: a life beyond the last checkpoint is no number.
    ranked = np.sort(lives)
    values = {
        "value": _lives(times, gains.mean(axis=1)[None])[0],
        # Outwards on both sides, so that the interval is at least as wide as its confidence asks
        # for.
        "low": ranked[math.floor(tail * (resamples - 1))],
        "high": ranked[math.ceil((1 - tail) * (resamples - 1))],
    }
    return {**found, **{name: float(x) if np.isfinite(x) else None for name, x in values.items()}}


def gain_record(gains: Float[np.ndarray, " facts"], *, seed: int = 0) -> dict[str, Any]:
    """The mean gain at one checkpoint with its interval, `{value, low, high, n}`."""
    interval = crossed_mean(gains[None], scale=_DIFFERENCE, confidence=CONFIDENCE, seed=seed)
    return interval_record(interval)


def _lives(
    times: Float[np.ndarray, " checkpoints"], gains: Float[np.ndarray, "draws checkpoints"]
) -> Float[np.ndarray, " draws"]:
    """When half of each first gain is left; infinite where more is left in the end, and 0 where
    there is none at first."""
    first = gains[:, :1]
    gone = gains <= first / 2
    # The first checkpoint at which half is gone; the one before it has more than half.
    after = np.where(gone.any(axis=1), gone.argmax(axis=1), 0)
    before = np.maximum(after - 1, 0)
    rows = np.arange(len(gains))
    high, low = gains[rows, before], gains[rows, after]
    span = np.where(high > low, high - low, 1.0)
    share = np.clip((high - first[:, 0] / 2) / span, 0.0, 1.0)
    life = times[before] + share * (times[after] - times[before])
    return np.where(first[:, 0] <= 0, 0.0, np.where(gone.any(axis=1), life, np.inf))
