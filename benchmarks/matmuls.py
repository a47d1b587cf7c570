"""The matmuls of a training step, of a decode step and of a prefill, with their shapes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vcjax.model.config import LlamaConfig
from vcjax.model.flops import Matmul, forward_matmuls


@dataclass(frozen=True)
class RepeatedMatmul:
    """A matmul of [rows, inner] by [inner, columns] that is repeated `count` times.

    Attributes:
      by_weight: whether the second factor is a weight, a different one each time.
    """

    name: str
    rows: int
    inner: int
    columns: int
    count: int
    by_weight: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.rows, self.inner, self.columns

    @property
    def flops(self) -> float:
        """Floating-point operations of all repetitions; a multiply-add counts as two."""
        return 2.0 * self.rows * self.inner * self.columns * self.count


def step_matmuls(config: LlamaConfig, batch: int, length: int) -> Iterator[RepeatedMatmul]:
    """All matmuls of a step of full fine-tuning over `[batch, length]` tokens.

    Each matmul of the forward pass, and the two that give the gradients of its factors. A causal
    step computes half of each of attention's matmuls, in blocks; here half as many whole ones are
    counted, which is no slower.
    """
    for matmul in forward_matmuls(config, batch, length):
        name, count = matmul.name, round(matmul.count * matmul.share)
        rows, inner, columns = matmul.rows, matmul.inner, matmul.columns
        weight = matmul.share == 1
        yield RepeatedMatmul(name, rows, inner, columns, count, weight)
        yield RepeatedMatmul(f"{name}, first gradient", rows, columns, inner, count, weight)
        yield RepeatedMatmul(f"{name}, second gradient", inner, rows, columns, count, False)


ATTENTION = ("scores", "mixed")
"""Matmuls of two activations; the second factor of the others is a weight."""


def decode_matmuls(config: LlamaConfig, batch: int, context: int) -> Iterator[Matmul]:
    """Every matmul of a decode step: one token per sequence, which attends to `context` tokens."""
    for matmul in forward_matmuls(config, batch, 1):
        if matmul.name == "scores":
            yield replace(matmul, columns=context)
        elif matmul.name == "mixed":
            yield replace(matmul, inner=context)
        else:
            yield matmul


def prefill_matmuls(config: LlamaConfig, batch: int, length: int) -> Iterator[RepeatedMatmul]:
    """Every matmul of a prefill of prompts of one length; only their last tokens have logits.

    Attention's matmuls are counted as in `step_matmuls`.
    """
    for matmul in forward_matmuls(config, batch, length):
        rows = batch if matmul.name == "head" else matmul.rows
        count = round(matmul.count * matmul.share)
        yield RepeatedMatmul(
            matmul.name,
            rows,
            matmul.inner,
            matmul.columns,
            count,
            by_weight=matmul.name not in ATTENTION,
        )
