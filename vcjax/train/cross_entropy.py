"""Cross-entropy over a large vocabulary, without the logits of all tokens at once.

The logits of some columns of all rows exist at a time. On a mesh each device works on its own
tokens: it fetches the head once, in the dtype of the hidden states, and the gradients of the head
are summed once, over tokens and devices, in float32. XLA, left to itself, does both for every
chunk, and in bfloat16.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import CustomVJPPrimal
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from vcjax.parallel import AnyMesh, mesh_axes, partition_spec, platform_of


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def row_cross_entropy(
    hidden: Float[Array, "batch length hidden"],
    head: Float[Array, "vocab hidden"],
    targets: Int[Array, "batch length"],
    mask: Bool[Array, "batch length"],
    chunk: int,
    mesh: AnyMesh | None = None,
) -> Float[Array, " batch"]:
    """For each row the sum of -log p(target) where `mask` is True; float32.

    The backward pass computes the logits again.

    Args:
      head: the logits of a token are `head @ hidden`, in the dtype of `hidden`. Its gradient is
        summed in float32, and has the dtype of `head`.
      chunk: columns whose logits exist at a time.
      mesh: the mesh over which the rows are sharded; None is one device.
    """

    def local(hidden: Array, head: Array, targets: Array, mask: Array) -> Array:
        # Differentiated by hand below: JAX's own rule for a scan keeps what each turn has computed,
        # and so the logits of all chunks, which is what chunks are to avoid.
        def part(total: Array, piece: tuple[Array, ...]) -> tuple[Array, None]:
            hidden, targets, mask = piece
            return total + jnp.sum(_losses(head, hidden, targets, mask, mesh)[0], axis=1), None

        # One column for each device along the row: their sum, outside, is the row's.
        zeros = jnp.zeros(len(hidden), jnp.float32)
        return jax.lax.scan(part, zeros, _pieces(chunk, hidden, targets, mask))[0][:, None]

    devices = _Devices.of(mesh, targets, head)
    tokens, whole = devices.tokens, PartitionSpec()
    losses = devices.run(local, (tokens, whole, tokens, tokens), tokens)
    # The head is cast once, outside of the scan over chunks, and is whole on each device there: a
    # chunk that gathered its own copy would send the largest matrix of the model again for a few
    # tokens.
    return jnp.sum(losses(hidden, head.astype(hidden.dtype), targets, mask), axis=1)


def _rows_forward(
    hidden: CustomVJPPrimal,
    head: CustomVJPPrimal,
    targets: CustomVJPPrimal,
    mask: CustomVJPPrimal,
    chunk: int,
    mesh: AnyMesh | None,
) -> tuple:
    inputs = hidden.value, head.value, targets.value, mask.value
    return row_cross_entropy(*inputs, chunk, mesh), (inputs, _Wanted(head.perturbed))


def _rows_backward(chunk: int, mesh: AnyMesh | None, kept: tuple, cotangent: Array) -> tuple:
    (hidden, head, targets, mask), wanted = kept
    # By the chain rule, a row's tokens are weighted by the cotangent of the row's loss.
    of = hidden, head, targets, mask, cotangent
    _, d_hidden, d_head = _gradients(*of, chunk, mesh, wanted.head)
    return d_hidden, d_head, None, None


# With `symbolic_zeros` JAX passes which arguments are differentiated: a frozen head is not.
row_cross_entropy.defvjp(_rows_forward, _rows_backward, symbolic_zeros=True)


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def summed_cross_entropy(
    hidden: Float[Array, "batch length hidden"],
    head: Float[Array, "vocab hidden"],
    targets: Int[Array, "batch length"],
    mask: Bool[Array, "batch length"],
    chunk: int,
    mesh: AnyMesh | None = None,
) -> Float[Array, ""]:
    """The sum of `row_cross_entropy` over the rows.

    In a sum each token's loss has the same cotangent, so the gradients are formed beside the loss,
    from logits that are there anyway, and the backward pass has but to scale them: the logits are
    computed once, not twice.
    """
    return jnp.sum(row_cross_entropy(hidden, head, targets, mask, chunk, mesh))


def _forward(
    hidden: CustomVJPPrimal,
    head: CustomVJPPrimal,
    targets: CustomVJPPrimal,
    mask: CustomVJPPrimal,
    chunk: int,
    mesh: AnyMesh | None,
) -> tuple:
    ones = jnp.ones(len(hidden.value), jnp.float32)
    inputs = hidden.value, head.value, targets.value, mask.value, ones
    losses, *gradients = _gradients(*inputs, chunk, mesh, head.perturbed)
    return jnp.sum(losses), gradients


def _backward(chunk: int, mesh: AnyMesh | None, gradients: list[Array | None], cotangent: Array):
    def scaled(gradient: Array | None) -> Array | None:
        return None if gradient is None else gradient * cotangent.astype(gradient.dtype)

    return *map(scaled, gradients), None, None


summed_cross_entropy.defvjp(_forward, _backward, symbolic_zeros=True)


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Wanted:
    """Whether the head is trained; a frozen one costs a matmul less for each chunk."""

    head: bool


@dataclass(frozen=True)
class _Devices:
    """Which device computes the loss of which tokens.

    Attributes:
      tokens: how [batch, length] is sharded.
      over: mesh axes that share the tokens out; without any there is nothing to map.
      columns: those of them that the columns of the head's gradient are left on.
    """

    mesh: AnyMesh | None
    tokens: PartitionSpec
    over: frozenset[str]
    columns: Any

    @classmethod
    def of(cls, mesh: AnyMesh | None, targets: Array, head: Array) -> "_Devices":
        if mesh is None:
            return cls(None, PartitionSpec(), frozenset(), None)
        tokens = partition_spec(mesh, ("batch", "length"), targets.shape)
        over, columns = mesh_axes(*tokens), partition_spec(mesh, ("vocab", "embed"), head.shape)[1]
        # `sum` scatters over axes that are mapped by hand alone.
        return cls(mesh, tokens, frozenset(over), columns if mesh_axes(columns) <= over else None)

    def run(self, local: Callable[..., Any], ins: tuple, outs: Any) -> Callable[..., Any]:
        """`local`, on each device's own tokens."""
        if self.mesh is None or not self.over:
            return local
        # Only the axes in `over` are mapped by hand: XLA still divides the matmuls by `tensor`. The
        # check of varying axes is off, since the scans' accumulators begin as the same zeros on all
        # devices and end as each device's own sums.
        options: Any = {"axis_names": self.over, "check_vma": False}
        mesh = self.mesh
        return jax.shard_map(local, mesh=mesh, in_specs=ins, out_specs=outs, **options)

    def sum(self, d_head: Array) -> Array:
        """Inside of `run`: the sum over devices, each of which keeps some columns of it."""
        if self.mesh is None or not self.over:
            return d_head
        # Where the head's columns are sharded anyway, each device receives its own part alone.
        scattered = mesh_axes(self.columns)
        if scattered:
            axes = self.columns
            d_head = jax.lax.psum_scatter(d_head, axes, scatter_dimension=1, tiled=True)
        rest = tuple(sorted(self.over - scattered))
        return jax.lax.psum(d_head, rest) if rest else d_head


def _gradients(
    hidden: Array,
    head: Array,
    targets: Array,
    mask: Array,
    weights: Float[Array, " batch"],
    chunk: int,
    mesh: AnyMesh | None,
    head_wanted: bool,
) -> tuple[Float[Array, " batch"], Array, Array | None]:
    """Losses of the rows, and the gradients of their weighted sum in `hidden` and `head`."""
    devices = _Devices.of(mesh, targets, head)

    def local(hidden: Array, head: Array, targets: Array, mask: Array, weights: Array) -> tuple:
        def part(so_far: tuple[Array, Array | None], piece: tuple[Array, ...]) -> tuple:
            (total, d_head), (hidden, targets, mask) = so_far, piece
            losses, logits, norm = _losses(head, hidden, targets, mask, mesh)
            # The gradient in the logits: the softmax, less 1 at the target.
            hits = jnp.arange(len(head)) == targets[..., None]
            errors = (jnp.exp(logits - norm) - hits) * (mask * weights)[..., None]
            # Rounded once, so that both matmuls below run at the rate of the compute dtype.
            errors = errors.astype(hidden.dtype)
            if d_head is not None:
                d_head += _matmul_to_float32("blv,blh->vh", errors, hidden, mesh)
            return (total + jnp.sum(losses, axis=1), d_head), errors @ head

        # A float32 accumulator: in bfloat16 the sum over chunks would lose what each chunk adds.
        zeros = jnp.zeros(head.shape, jnp.float32) if head_wanted else None
        start = jnp.zeros(len(hidden), jnp.float32), zeros
        pieces = _pieces(chunk, hidden, targets, mask)
        (losses, d_head), parts = jax.lax.scan(part, start, pieces)
        d_hidden = jnp.moveaxis(parts, 0, 1).reshape(len(hidden), -1, hidden.shape[2])
        d_hidden = d_hidden[:, : hidden.shape[1]]  # without the columns that `_pieces` added
        return losses[:, None], d_hidden, None if d_head is None else devices.sum(d_head)

    tokens, whole = devices.tokens, PartitionSpec()
    ins = tokens, whole, tokens, tokens, PartitionSpec(*tokens[:1])
    outs = tokens, tokens, PartitionSpec(None, devices.columns) if head_wanted else None
    low = head.astype(hidden.dtype)
    run = devices.run(local, ins, outs)
    losses, d_hidden, d_head = run(hidden, low, targets, mask, weights[:, None])
    if d_head is not None:
        d_head = d_head.astype(head.dtype)
    return jnp.sum(losses, axis=1), d_hidden, d_head


def _losses(
    head: Array, hidden: Array, targets: Array, mask: Array, mesh: AnyMesh | None
) -> tuple[
    Float[Array, "batch columns"],
    Float[Array, "batch columns vocab"],
    Float[Array, "batch columns 1"],
]:
    """Losses, logits and the log of the sum of the logits' exponentials; float32."""
    logits = _matmul_to_float32("blh,vh->blv", hidden, head, mesh)
    norm = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    found = jnp.take_along_axis(logits, targets[..., None], axis=-1)
    return jnp.where(mask, (norm - found)[..., 0], 0.0), logits, norm


def _matmul_to_float32(shape: str, left: Array, right: Array, mesh: AnyMesh | None) -> Array:
    """`einsum` whose sums and results are float32, whatever its operands are.

    A CPU's operands are converted first: XLA computes in float32 there in any case, and has no
    bfloat16 matmul with float32 results for the layouts that some small shapes get.
    """
    platform = jax.default_backend() if mesh is None else platform_of(mesh)
    if platform == "cpu":
        left, right = left.astype(jnp.float32), right.astype(jnp.float32)
    return jnp.einsum(shape, left, right, preferred_element_type=jnp.float32)


def _pieces(chunk: int, *arrays: Array) -> tuple[Array, ...]:
    """[batch, length, ...] -> [chunks, batch, chunk, ...], padded with zeros at the end."""
    pieces = []
    for array in arrays:
        width = min(chunk, array.shape[1])
        # What is added has a mask of False, and so neither loss nor gradient.
        padding = [(0, 0), (0, -array.shape[1] % width)] + [(0, 0)] * (array.ndim - 2)
        split = jnp.pad(array, padding).reshape(len(array), -1, width, *array.shape[2:])
        pieces.append(jnp.moveaxis(split, 1, 0))
    return tuple(pieces)
