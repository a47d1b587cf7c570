"""What a layer does with a parameter of float32 beside activations of bfloat16.

The value is that of Hugging Face: the parameter is rounded to the activations' dtype, and so is
the result. The gradient is summed over the tokens in float32: bfloat16 has 8 bits, so that a sum
of it stops growing at about 256 equal terms, and a common token occurs thousands of times in a
batch. In float32 nothing is rounded, and the results are those of plain arithmetic.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from vcjax.parallel import AnyMesh, mesh_axes, partition_spec


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def rms_norm(
    x: Float[Array, "*rows size"], weight: Float[Array, " size"], eps: float
) -> Float[Array, "*rows size"]:
    """Normalises in float32, casts to the dtype of `x`, then multiplies by the weight.

    The backward pass keeps `x` and one number a row, and computes the normalised rows again.

    Source: Zhang and Sennrich, arXiv 1910.07467.
    """
    return _rms_forward(x, weight, eps)[0]


def _rms_forward(x: Array, weight: Array, eps: float) -> tuple[Array, tuple]:
    wide = x.astype(jnp.float32)
    scale = jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + eps)
    normal = (wide * scale).astype(x.dtype)
    return normal * weight.astype(x.dtype), (x, weight, scale)


def _rms_backward(eps: float, kept: tuple[Array, Array, Array], gradient: Array) -> tuple:
    x, weight, scale = kept
    normal, wide = x.astype(jnp.float32) * scale, gradient.astype(jnp.float32)
    d_weight = jnp.sum(wide * normal, axis=range(x.ndim - 1))
    # By the weight as the forward pass used it, rounded: the gradient is that of what was computed.
    d_normal = wide * weight.astype(x.dtype).astype(jnp.float32)
    # Scaling a row leaves its normalised row as it is (but for eps): no gradient goes that way.
    along = jnp.mean(d_normal * normal, axis=-1, keepdims=True)
    d_x = scale * (d_normal - along * normal)
    return d_x.astype(x.dtype), d_weight.astype(weight.dtype)


rms_norm.defvjp(_rms_forward, _rms_backward)


@jax.custom_vjp
def add_bias(
    x: Float[Array, "rows size"], bias: Float[Array, " size"]
) -> Float[Array, "rows size"]:
    """The bias, cast to the dtype of `x`, added to each row."""
    return x + bias.astype(x.dtype)


def _bias_forward(x: Array, bias: Array) -> tuple[Array, Array]:
    return add_bias(x, bias), bias


def _bias_backward(bias: Array, gradient: Array) -> tuple[Array, Array]:
    return gradient, jnp.sum(gradient, axis=0, dtype=jnp.float32).astype(bias.dtype)


add_bias.defvjp(_bias_forward, _bias_backward)


@jax.custom_vjp
def swiglu(
    gate: Float[Array, "batch length mlp"], up: Float[Array, "batch length mlp"]
) -> Float[Array, "batch length mlp"]:
    """silu(gate) * up, computed in float32 and rounded once; so are its gradients.

    The backward pass keeps its two arguments alone.

    Source: Shazeer, arXiv 2002.05202.
    """
    wide = gate.astype(jnp.float32)
    return (wide * jax.nn.sigmoid(wide) * up.astype(jnp.float32)).astype(gate.dtype)


def _swiglu_forward(gate: Array, up: Array) -> tuple[Array, tuple[Array, Array]]:
    return swiglu(gate, up), (gate, up)


def _swiglu_backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    gate, up, wide = (array.astype(jnp.float32) for array in (*kept, gradient))
    share = jax.nn.sigmoid(gate)
    # The derivative of g s(g), where s is the sigmoid and s' = s (1 - s), is s (1 + g (1 - s)).
    d_gate = wide * up * share * (1 + gate * (1 - share))
    return d_gate.astype(kept[0].dtype), (wide * gate * share).astype(kept[1].dtype)


swiglu.defvjp(_swiglu_forward, _swiglu_backward)


def embed(
    table: Float[Array, "vocab hidden"],
    tokens: Int[Array, "batch length"],
    dtype: Any,
    mesh: AnyMesh | None = None,
) -> Float[Array, "batch length hidden"]:
    """The rows of the table, in `dtype`: cast after the look-up, so that their gradients are cast
    to the table's dtype before they are summed.

    Where a mesh axis shards both the batch and the table's columns (FSDP), each device looks its
    columns up for all rows of that axis, and devices then exchange columns for rows, both ways in
    `dtype`. Otherwise each would need the whole table, and sum a whole gradient, in float32.

    Args:
      mesh: the mesh that the rows are sharded over; None is one device.
    """
    rows = table[tokens].astype(dtype)
    if mesh is None:
        return rows
    columns = partition_spec(mesh, ("vocab", "embed"), table.shape)[1]
    batch, length = partition_spec(mesh, ("batch", "length"), tokens.shape)
    both = mesh_axes(columns) & mesh_axes(batch)
    if not both:
        return rows
    names = (batch,) if isinstance(batch, str) else batch
    others = tuple(name for name in names if name not in both)
    # First as the look-up leaves them: a device has its columns of all rows of its group. Then as
    # the layers take them, whole rows: the change is an all-to-all.
    for spec in (PartitionSpec(others or None, length, columns), PartitionSpec(batch, length)):
        rows = jax.lax.with_sharding_constraint(rows, NamedSharding(mesh, spec))
    return rows
