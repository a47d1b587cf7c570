"""The matrix products of a training step as plain multiplications, ready to be run and timed."""

from collections.abc import Iterator
from dataclasses import dataclass

from vcjax.model.config import LlamaConfig
from vcjax.model.flops import forward_products


@dataclass(frozen=True)
class Multiplication:
    """`count` times a matrix [rows, inner] by a matrix [inner, columns].

    Attributes:
      by_weight: whether the second factor is a weight, another one each time.
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
        """Floating-point operations of all of them; a multiply-add is two."""
        return 2.0 * self.rows * self.inner * self.columns * self.count


def step_multiplications(config: LlamaConfig, batch: int, length: int) -> Iterator[Multiplication]:
    """All matrix products of a step of full fine-tuning over `[batch, length]` tokens.

    Each product of the forward pass, and the two that give the gradients of its factors. Of
    attention's products, each over whole rows, so many are there as the causal half amounts to:
    a step computes half of each, in pieces, which is no faster.
    """
    for product in forward_products(config, batch, length):
        name, count = product.name, round(product.count * product.share)
        rows, inner, columns = product.rows, product.inner, product.columns
        weight = product.share == 1
        yield Multiplication(name, rows, inner, columns, count, weight)
        yield Multiplication(f"{name}, first gradient", rows, columns, inner, count, weight)
        yield Multiplication(f"{name}, second gradient", inner, rows, columns, count, False)
