"""The matmuls of a forward pass at their real shapes, and what they cost.

Counted from shapes: a compiler's cost analysis counts the body of a loop once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import jax

from vcjax.model.build import shapes
from vcjax.model.config import LlamaConfig
from vcjax.model.lora import LoraConfig


@dataclass(frozen=True)
class Matmul:
    """`count` matmuls [rows, inner] x [inner, columns]; of each, `share` is needed.

    Causal attention needs the half of its matmuls on and below the diagonal.
    """

    name: str
    rows: int
    inner: int
    columns: int
    count: int
    share: float = 1.0

    @property
    def flops(self) -> float:
        """Floating-point operations of all of them; a multiply-add is two."""
        return 2.0 * self.rows * self.inner * self.columns * self.count * self.share


def forward_matmuls(config: LlamaConfig, batch: int, length: int) -> Iterator[Matmul]:
    """Every matmul of a forward pass over `[batch, length]` tokens, head included."""
    tokens, layers, hidden = batch * length, config.num_layers, config.hidden_size
    for name, inner, columns in projections(config):
        yield Matmul(name, tokens, inner, columns, layers)
    groups = config.num_heads // config.num_kv_heads
    count = layers * batch * config.num_kv_heads
    causal = (length + 1) / (2 * length)
    yield Matmul("scores", groups * length, config.head_dim, length, count, causal)
    yield Matmul("mixed", groups * length, length, config.head_dim, count, causal)
    yield Matmul("head", tokens, hidden, config.vocab_size, 1)


def projections(config: LlamaConfig) -> list[tuple[str, int, int]]:
    """(name, inputs, outputs) of each projection of a layer."""
    hidden, middle = config.hidden_size, config.intermediate_size
    heads, kv_heads = (n * config.head_dim for n in (config.num_heads, config.num_kv_heads))
    return [
        ("q", hidden, heads),
        ("k", hidden, kv_heads),
        ("v", hidden, kv_heads),
        ("o", heads, hidden),
        ("gate", hidden, middle),
        ("up", hidden, middle),
        ("down", middle, hidden),
    ]


def step_flops(
    config: LlamaConfig, batch: int, length: int, lora: LoraConfig | None = None
) -> float:
    """Floating-point operations of a training step's matmuls; nothing computed again.

    Each matmul of the forward pass has two of its size in the backward pass, for the gradients
    of its two factors. A frozen weight has no gradient; its adapter has.
    """
    tokens, total = batch * length, 0.0
    for matmul in forward_matmuls(config, batch, length):
        weight = matmul.name not in ("scores", "mixed")
        total += matmul.flops * (2 if weight and lora is not None else 3)
    if lora is not None:
        for name, inner, outer in projections(config):
            if lora.covers(name):
                total += 3 * 2.0 * tokens * lora.rank * (inner + outer) * config.num_layers
    return total


@cache
def parameters(config: LlamaConfig, lora: LoraConfig | None = None) -> int:
    """Number of parameters of the model, or of its adapters."""
    if lora is None:
        return sum(leaf.size for leaf in jax.tree.leaves(shapes(config)))
    sizes = {name: inner + outer for name, inner, outer in projections(config)}
    per_layer = sum(lora.rank * size for name, size in sizes.items() if lora.covers(name))
    return config.num_layers * per_layer
