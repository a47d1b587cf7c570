"""The matrix products of generating: of a decode step, and of a prefill."""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.multiplications import Multiplication
from vcjax.model.config import LlamaConfig
from vcjax.model.flops import Product, forward_products

ATTENTION = ("scores", "mixed")
"""Products of two activations; the others have a weight as their second factor."""


def decode_products(config: LlamaConfig, batch: int, context: int) -> Iterator[Product]:
    """Every product of a decode step: a token a row, each of which sees `context` of them."""
    for product in forward_products(config, batch, 1):
        if product.name == "scores":
            yield replace(product, columns=context)
        elif product.name == "mixed":
            yield replace(product, inner=context)
        else:
            yield product


def prefill_products(config: LlamaConfig, batch: int, length: int) -> Iterator[Multiplication]:
    """Every product of prompts of one length, whose last tokens alone have logits.

    Of attention's products, each over whole rows, so many are there as the causal half amounts to.
    """
    for product in forward_products(config, batch, length):
        rows = batch if product.name == "head" else product.rows
        count = round(product.count * product.share)
        yield Multiplication(
            product.name,
            rows,
            product.inner,
            product.columns,
            count,
            by_weight=product.name not in ATTENTION,
        )
