"""Frozen kernels in 8 or 4 bits, made whole again layer by layer as they are used (QLoRA).

Source: Dettmers et al., arXiv 2305.14314, section 3 and appendix E; blocks lie as bitsandbytes
lays them. Scales stay float32, half a bit a weight; the paper's second quantisation of them would
save 0.37 of it.

Not `qwix`: its provider swaps a module's weights while the forward pass runs, which a module made
inside a traced step forbids and a scan over stacked layers never lets it see; and its NF4 holds
a weight in `uint4`, a whole byte of it on a CPU.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Integer

from vcjax.foundation.errors import UserError

FORMS = ("int8", "nf4")
BLOCK = 64
"""Inputs of one output that share a scale in NF4."""

NF4 = np.array(
    [
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ],
    np.float32,
)
"""The values of a 4-bit NormalFloat, quantiles of a normal distribution scaled to [-1, 1]."""


class QuantisedKernel(nnx.Module):
    """Stands where a projection's kernel would; inputs are flat, outputs keep their axes.

    `codes` and `scales` are what `quantise` gives; a new one holds zeros.
    """

    def __init__(self, make: Any, form: str, inputs: dict[str, int], outputs: dict[str, int]):
        """`make` is that of `vcjax.model.llama`; the dicts map axes to sizes."""
        axes, flat = (next(iter(inputs)), *outputs), int(np.prod([*inputs.values()]))
        if form == "nf4" and flat % 2:
            raise UserError(f"lora.base 'nf4' holds pairs of inputs; a projection has {flat}")
        rows = {"int8": (flat, 1), "nf4": (flat // 2, -(-flat // BLOCK))}[form]
        dtypes = {"int8": jnp.int8, "nf4": jnp.uint8}[form], jnp.float32
        self.codes, self.scales = (
            make(jax.nn.initializers.zeros, (size, *outputs.values()), axes, nnx.Variable, dtype)
            for size, dtype in zip(rows, dtypes, strict=True)
        )

    def __call__(self, rows: Float[Array, "rows inputs"]) -> Float[Array, "rows flat_outputs"]:
        return _product(rows, self.codes[...], self.scales[...])


def quantise(kernel: Float[Array, "inputs ..."], form: str) -> dict[str, Array]:
    """Codes and float32 scales of a kernel.

    `int8`: codes [inputs, *outputs] of one symmetric scale [1, *outputs] for each output.
    `nf4`: codes uint8 [inputs / 2, *outputs], a byte for two neighbouring inputs, the first in the
    low half, and scales [blocks, *outputs]: the largest magnitude of BLOCK inputs.
    """
    kernel = kernel.astype(jnp.float32)
    if form == "int8":
        scales = jnp.max(jnp.abs(kernel), axis=0, keepdims=True) / 127
        codes = jnp.round(kernel / jnp.where(scales == 0, 1, scales)).astype(jnp.int8)
        return {"codes": codes, "scales": scales}
    inputs, *outputs = kernel.shape
    padded = jnp.pad(kernel, [(0, -inputs % BLOCK)] + [(0, 0)] * len(outputs))
    scales = jnp.max(jnp.abs(padded.reshape(-1, BLOCK, *outputs)), axis=1)
    unit = kernel / _spread(jnp.where(scales == 0, 1, scales), inputs)
    codes = jnp.zeros(kernel.shape, jnp.uint8)
    for middle in (NF4[1:] + NF4[:-1]) / 2:
        codes += (unit > middle).astype(jnp.uint8)
    return {"codes": codes[0::2] | codes[1::2] << 4, "scales": scales}


def dequantise(
    codes: Integer[Array, "rows ..."], scales: Float[Array, "blocks ..."]
) -> Float[Array, "inputs ..."]:
    """The kernel that the codes stand for, float32; int8 codes are of form `int8`, uint8 `nf4`."""
    if codes.dtype == jnp.int8:
        return codes.astype(jnp.float32) * scales
    nibbles = jnp.stack([codes & 15, codes >> 4], axis=1).reshape(-1, *codes.shape[1:])
    # By halves: selects run on vectors everywhere, a look-up in a table doesn't.
    values: list[Any] = [jnp.float32(value) for value in NF4]
    for bit in range(4):
        on = (nibbles >> bit & 1).astype(bool)
        pairs = zip(values[::2], values[1::2], strict=True)
        values = [jnp.where(on, high, low) for low, high in pairs]
    return values[0] * _spread(scales, len(nibbles))


def _spread(scales: Array, inputs: int) -> Array:
    return jnp.repeat(scales, BLOCK, axis=0)[:inputs]


@jax.custom_vjp
def _product(rows: Array, codes: Array, scales: Array) -> Array:
    """Rows times the kernel, in the dtype of the rows. Codes and scales have no gradient.

    The backward pass makes the kernel again; else it would hold the whole kernels of all layers.
    """
    return rows @ _matrix(codes, scales, rows.dtype)


def _forward(rows: Array, codes: Array, scales: Array) -> tuple[Array, tuple[Array, Array]]:
    return _product(rows, codes, scales), (codes, scales)


def _backward(kept: tuple[Array, Array], grad: Array) -> tuple[Array, None, None]:
    return grad @ _matrix(*kept, grad.dtype).T, None, None


_product.defvjp(_forward, _backward)


def _matrix(codes: Array, scales: Array, dtype: Any) -> Array:
    kernel = dequantise(codes, scales)
    return kernel.reshape(kernel.shape[0], -1).astype(dtype)
