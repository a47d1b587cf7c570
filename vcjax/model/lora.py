"""Low-rank adaptation (Hu et al., arXiv 2106.09685) of chosen projections."""

import re
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float

from vcjax.core.errors import UserError
from vcjax.model.quantised import dequantise

PROJECTIONS = ("q", "k", "v", "o", "gate", "up", "down")
LEAVES = ("lora_a", "lora_b")


@dataclass(frozen=True)
class LoraConfig:
    """Which projections get an adapter: a regular expression over the names in PROJECTIONS.

    `dropout` is the share of an adapter's inputs that is left out in training. `base` is the form
    of the frozen kernels, adapted or not: '' (plain) or one of `vcjax.model.quantised.FORMS`.
    Rank 0 is a base without adapters.
    """

    rank: int = 16
    alpha: float = 32.0
    targets: str = ".*"
    dropout: float = 0.0
    base: str = ""

    def __post_init__(self) -> None:
        if self.rank == 0 and self.base:
            return
        if self.rank < 1:
            raise UserError(f"lora.rank must be at least 1, not {self.rank}")
        try:
            matched = [name for name in PROJECTIONS if self.covers(name)]
        except re.error as error:
            raise UserError(f"lora.targets {self.targets!r} is not a pattern: {error}") from None
        if not matched:
            raise UserError(
                f"lora.targets {self.targets!r} matches none of {', '.join(PROJECTIONS)}"
            )

    @property
    def scale(self) -> float:
        """Factor of the adapter's output: alpha / rank."""
        return self.alpha / self.rank

    def covers(self, projection: str) -> bool:
        """Whether the projection of this name gets an adapter."""
        return self.rank > 0 and re.fullmatch(self.targets, projection) is not None


def drop(
    rows: Float[Array, "rows inputs"], projection: str, rate: float, key: Array
) -> Float[Array, "rows inputs"]:
    """Zeroes a share `rate` of the inputs of a projection's adapter and scales the others up.

    What is dropped is a function of the layer's `key` and the name of the projection, drawn for
    all rows at once, so that a mesh doesn't change it.
    """
    # By name and not by the order of calls: q, k and v read the same rows, and must not share a
    # mask.
    own = jax.random.fold_in(key, PROJECTIONS.index(projection))
    kept = jax.random.bernoulli(own, 1 - rate, rows.shape)
    # Scaled up, so that the expected input is that without dropout, with which the adapter is
    # validated, merged and served.
    return jnp.where(kept, rows / (1 - rate), 0)


def split_adapters(params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns (the adapters' leaves, the rest), each at the paths that they had."""
    flat = flatten_dict(params)
    adapters = {path: leaf for path, leaf in flat.items() if path[-1] in LEAVES}
    rest = {path: leaf for path, leaf in flat.items() if path[-1] not in LEAVES}
    return unflatten_dict(adapters), unflatten_dict(rest)


def join_params(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """One tree with the leaves of both; the reverse of `split_adapters`."""
    return unflatten_dict({**flatten_dict(one), **flatten_dict(other)})


def merge_lora(params: dict, lora: LoraConfig) -> dict:
    """Adds `scale * A @ B` to each adapted kernel and drops A and B: a plain model's parameters.

    `A @ B` is computed in float32 and added in the kernel's dtype. Quantised kernels, of stacked
    layers, are made whole in float32 first: an adapter was trained on top of the
    dequantised kernels, and makes up for some of what quantisation lost.
    """
    return _merged(params, lora)


def _merged(node: Any, lora: LoraConfig) -> Any:
    if not isinstance(node, dict):
        return node
    if "codes" in node:
        # Layer by layer: the axis of layers would count as one of the inputs.
        return jax.vmap(dequantise)(node["codes"], node["scales"])
    rest = {name: _merged(child, lora) for name, child in node.items() if name not in LEAVES}
    if "lora_a" not in node:
        return rest
    kernel = rest["kernel"]
    a, b = (node[name].astype(jnp.float32) for name in LEAVES)
    delta = (lora.scale * (a @ b)).reshape(kernel.shape)
    return {**rest, "kernel": (kernel.astype(jnp.float32) + delta).astype(kernel.dtype)}
