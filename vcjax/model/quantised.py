"""Frozen kernels in 8 or 4 bits, made whole again layer by layer as they are used (QLoRA).

Source: Dettmers et al., arXiv 2305.14314, section 3 and appendix E; blocks are laid out as in
bitsandbytes. Scales stay float32, half a bit a weight; the paper's second quantisation of them
would save 0.37 of it.

Not `qwix`: its provider swaps a module's weights while the forward pass runs, which a module made
inside a traced step forbids and a scan over stacked layers never lets it see; and its NF4 stores
a weight in `uint4`, which takes a whole byte on a CPU.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding
from jaxtyping import Array, Float, Integer

from vcjax.core.errors import UserError
from vcjax.parallel import AnyMesh, gathered_sharding

Gathered = tuple[NamedSharding | None, NamedSharding | None]
"""Shardings of codes and scales while rows are multiplied by them; None is as they are stored."""

FORMS = ("int8", "nf4")
BLOCK = 64
"""Inputs of one output that share a scale in NF4."""

# Seven values below zero, eight above it, and zero itself: with a code for zero, weights that are
# exactly zero stay so (the paper's reason for an asymmetric type).
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
    """A projection's kernel as `quantise` returns it; a new one is zeros."""

    def __init__(
        self,
        make: Any,
        form: str,
        inputs: dict[str, int],
        outputs: dict[str, int],
        mesh: AnyMesh | None = None,
    ) -> None:
        """`make` is a `ParamMaker`; the dicts map the kernel's axes to their sizes.

        `mesh` is the mesh that codes and scales are sharded over.
        """
        whole, blocks = list(inputs.values()), 1
        if form == "nf4":
            if whole[-1] % 2:
                raise UserError(f"lora.base 'nf4' stores pairs of inputs; a projection has {whole}")
            blocks = -(-math.prod(whole) // BLOCK)
            whole[-1] //= 2
        zeros, sizes = jax.nn.initializers.zeros, tuple(outputs.values())
        # The axis of blocks divides the inputs, and is sharded as the first of them is.
        axes = (next(iter(inputs)), *outputs)
        dtype = {"int8": jnp.int8, "nf4": jnp.uint8}[form]
        self.codes = make(zeros, (*whole, *sizes), (*inputs, *outputs), nnx.Variable, dtype)
        self.scales = make(zeros, (blocks, *sizes), axes, nnx.Variable, jnp.float32)
        self.gathered: Gathered = (None, None)
        if mesh is not None:
            self.gathered = (
                gathered_sharding(mesh, (*inputs, *outputs), (*whole, *sizes)),
                gathered_sharding(mesh, axes, (blocks, *sizes)),
            )

    def __call__(self, rows: Float[Array, "rows inputs"]) -> Float[Array, "rows outputs"]:
        return _matmul(rows, self.codes[...], self.scales[...], self.gathered)


def quantise(kernel: Float[Array, "..."], form: str, inputs: int) -> dict[str, Array]:
    """Codes, with the kernel's axes, and float32 scales [blocks, *outputs].

    `int8`: one block, one symmetric scale for each output.
    `nf4`: a block is BLOCK inputs, its scale their largest magnitude. A byte has two neighbours
    along the last axis of the inputs, the first in the low half; that axis is half as long.

    Args:
      inputs: how many axes of the kernel are inputs; the rest are outputs.
    """
    whole, outputs = kernel.shape[:inputs], kernel.shape[inputs:]
    flat = kernel.astype(jnp.float32).reshape(-1, *outputs)
    if form == "int8":
        # int8 ends at 127 on the positive side, where the largest magnitude may be.
        scales = jnp.max(jnp.abs(flat), axis=0, keepdims=True) / 127
        codes = jnp.round(flat / jnp.where(scales == 0, 1, scales)).astype(jnp.int8)
        return {"codes": codes.reshape(kernel.shape), "scales": scales}
    # Zeros at the end can't raise a block's largest magnitude, and are cut off again.
    padded = jnp.pad(flat, [(0, -len(flat) % BLOCK)] + [(0, 0)] * len(outputs))
    scales = jnp.max(jnp.abs(padded.reshape(-1, BLOCK, *outputs)), axis=1)
    # The largest magnitude becomes -1 or 1, so that nothing saturates. A block of zeros has the
    # scale 0 and is divided by 1: its codes stay finite, and any code times 0 is 0 again.
    unit = flat / _spread(jnp.where(scales == 0, 1, scales), len(flat))
    # The index of the nearest value is the number of midpoints below.
    codes = jnp.zeros(flat.shape, jnp.uint8)
    for middle in (NF4[1:] + NF4[:-1]) / 2:
        codes += (unit > middle).astype(jnp.uint8)
    packed = codes[0::2] | codes[1::2] << 4
    return {"codes": packed.reshape(*whole[:-1], whole[-1] // 2, *outputs), "scales": scales}


def dequantise(
    codes: Integer[Array, "..."], scales: Float[Array, "blocks ..."]
) -> Float[Array, "..."]:
    """The float32 kernel that the codes represent; int8 codes are `int8`, uint8 codes `nf4`."""
    if codes.dtype == jnp.int8:
        return codes.astype(jnp.float32) * scales
    outputs = scales.shape[1:]
    *outer, half = codes.shape[: codes.ndim - len(outputs)]
    flat = codes.reshape(-1, *outputs)
    flat = jnp.stack([flat & 15, flat >> 4], axis=1).reshape(-1, *outputs)
    # By halves: selects are vectorised on every backend, a table look-up isn't.
    values: list[Any] = [jnp.float32(value) for value in NF4]
    for bit in range(4):
        on = (flat >> bit & 1).astype(bool)
        pairs = zip(values[::2], values[1::2], strict=True)
        values = [jnp.where(on, high, low) for low, high in pairs]
    kernel = values[0] * _spread(scales, len(flat))
    return kernel.reshape(*outer, 2 * half, *outputs)


def quantise_base(params: dict[str, Any], form: str) -> dict[str, Any]:
    """A plain model's stacked parameters with quantised projections: a run's `lora.base`.

    The layers are quantised on the host, one at a time, and their leaves are NumPy arrays. The form
    '' changes nothing.
    """
    if not form:
        return params
    layers = dict(params["layers"])
    compiled = jax.jit(quantise, static_argnames=("form", "inputs"))
    # In host memory: the reason for a quantised base is that a plain one doesn't fit the device.
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        for name, child in layers.items():
            if "kernel" in child:
                inputs = 2 if name == "o" else 1  # heads and head_dim, or one axis
                each = [compiled(kernel, form, inputs) for kernel in child["kernel"]]
                stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
                layers[name] = {**child, "kernel": stacked}
    return {**params, "layers": layers}


def _spread(scales: Array, inputs: int) -> Array:
    return jnp.repeat(scales, BLOCK, axis=0)[:inputs]


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _matmul(rows: Array, codes: Array, scales: Array, gathered: Gathered) -> Array:
    """Rows times the kernel, in the dtype of the rows. Codes and scales have no gradient.

    The backward pass makes the kernel again; else it would keep the whole kernels of all layers.
    """
    return rows @ _matrix(codes, scales, rows.dtype, gathered)


def _forward(
    rows: Array, codes: Array, scales: Array, gathered: Gathered
) -> tuple[Array, tuple[Array, Array]]:
    return _matmul(rows, codes, scales, gathered), (codes, scales)


def _backward(
    gathered: Gathered, kept: tuple[Array, Array], grad: Array
) -> tuple[Array, None, None]:
    return grad @ _matrix(*kept, grad.dtype, gathered).T, None, None


_matmul.defvjp(_forward, _backward)


def _matrix(codes: Array, scales: Array, dtype: Any, gathered: Gathered) -> Array:
    """The kernel as [inputs, outputs].

    Devices exchange codes, and each dequantises the whole kernel. XLA by itself would have each
    device dequantise its part and gather the parts: for NF4 in bfloat16, four times as many bytes.
    """
    codes, scales = (
        leaf if at is None else jax.lax.with_sharding_constraint(leaf, at)
        for leaf, at in zip((codes, scales), gathered, strict=True)
    )
    return dequantise(codes, scales).reshape(-1, math.prod(scales.shape[1:])).astype(dtype)
