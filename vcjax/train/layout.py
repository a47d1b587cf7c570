"""How a run's arrays are laid out over its devices, and what they are at the start."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.traverse_util import flatten_dict
from jax.sharding import NamedSharding, PartitionSpec
from jax.tree_util import DictKey, tree_map_with_path

from vcjax.core.seeds import derive_seed
from vcjax.data.packing import DTYPES
from vcjax.model.build import Params, abstract, logical_axes, shapes
from vcjax.model.config import LlamaConfig
from vcjax.model.llama import Llama
from vcjax.model.lora import split_adapters
from vcjax.parallel import LOGICAL_AXIS_RULES, AnyMesh, put, replicated, shardings
from vcjax.train.config import TrainConfig
from vcjax.train.matrices import path_of
from vcjax.train.offload import HOST
from vcjax.train.optim import Optimizer


@dataclass(frozen=True)
class Layout:
    """Shapes, dtypes and shardings (`jax.ShapeDtypeStruct` leaves) of a run's arrays.

    Attributes:
      mesh: the mesh.
      graph: static part of the model; `nnx.merge(graph, params)` gives the model.
      trainable: float32 leaves that are trained: all of them, or the adapters.
      frozen: the other leaves, in the compute dtype or quantised, as nothing else is done with
        them.
      optimizer: state of the optimiser.
      drop_seed: of the adapters' dropout; None where nothing is dropped.
    """

    mesh: AnyMesh
    graph: Any
    trainable: Params
    frozen: Params
    optimizer: Any
    drop_seed: int | None = None


def make_layout(
    model: LlamaConfig,
    config: TrainConfig,
    optimizer: Optimizer,
    mesh: AnyMesh,
) -> Layout:
    """The layout of a run on a mesh; allocates nothing."""
    lora, dtype = config.adapters, jnp.dtype(config.dtype)
    options = {"remat": config.remat, "attention": config.attention, "mesh": mesh}
    graph, _ = abstract(model, dtype=dtype, lora=lora, **options)
    tree = shapes(model, lora=lora)
    where = shardings(mesh, logical_axes(model, lora=lora), tree)
    sharded = jax.tree.map(_sharded, tree, where)
    trainable, frozen, drop_seed = sharded, {}, None
    if lora:
        trainable, _ = split_adapters(sharded)
        # In the compute dtype, but for quantised kernels, which have dtypes of their own.
        # Frozen weights aren't updated, so that a float32 master copy, whose low bits collect small
        # updates, would be memory for nothing.
        low = shapes(model, lora=lora, param_dtype=dtype)
        _, frozen = split_adapters(jax.tree.map(_sharded, low, where))
        drop_seed = derive_seed(config.seed, "dropout") if lora.dropout else None
    state = _state_layout(optimizer, trainable, mesh, offload=config.offload)
    return Layout(mesh, graph, trainable, frozen, state, drop_seed)


def sharding_of(tree: Any) -> Any:
    """The shardings of a part of a layout."""
    return jax.tree.map(lambda leaf: leaf.sharding, tree)


def shard_params(params: Params, layout: Params) -> Params:
    """Puts a model's parameters on the devices, in the shardings and dtypes of a layout."""
    return jax.tree.map(
        lambda leaf, like: put(np.asarray(leaf, like.dtype), like.sharding),
        params,
        layout,
    )


def init_adapters(model: LlamaConfig, config: TrainConfig, layout: Params) -> Params:
    """Fresh adapters, a function of the run's seed; they leave the model as it is."""
    seed = derive_seed(config.seed, "lora")

    def init() -> Params:
        whole = Llama(model, rngs=nnx.Rngs(seed), lora=config.adapters)
        return split_adapters(nnx.to_pure_dict(nnx.split(whole)[1]))[0]

    # Compiled, so that the rest of the random model is never made.
    return jax.jit(init, out_shardings=sharding_of(layout))()


def _state_layout(optimizer: Optimizer, trainable: Params, mesh: AnyMesh, *, offload: bool) -> Any:
    """A moment of a parameter's shape is sharded as the parameter is, if need be in host memory.

    Whatever else there is (counts, rows and columns of factored moments) is small and replicated.
    """
    params: dict[Any, Any] = flatten_dict(trainable)
    everywhere = replicated(mesh)

    def sharded(entries: tuple, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        # Dicts in a state are trees of parameters, or name parts of an optimiser.
        runs = groupby(entries, lambda entry: isinstance(entry, DictKey))
        paths = [path_of(tuple(run)) for is_dict, run in runs if is_dict]
        param = next((params[path] for path in paths if path in params), None)
        if param is None or param.shape != leaf.shape:
            return _sharded(leaf, everywhere)
        kind = HOST if offload else None  # None is the device's default memory
        return _sharded(leaf, param.sharding.with_memory_kind(kind))

    return tree_map_with_path(sharded, jax.eval_shape(optimizer.init, trainable))


def _sharded(leaf: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def local_rows(mesh: AnyMesh, count: int) -> list[int]:
    """The rows of a batch of `count` that devices of this process need, ascending.

    They are all of them where only one process has devices. Where a row is shared out over devices
    of several processes (`tensor`, `sequence`), each of these needs it.
    """
    rows = NamedSharding(mesh, PartitionSpec(LOGICAL_AXIS_RULES["batch"]))
    parts = rows.addressable_devices_indices_map((count,)).values()
    return sorted({row for (part,) in cast(Any, parts) for row in range(count)[part]})


def shard_batch(batch: Mapping[str, np.ndarray], mesh: AnyMesh, count: int) -> dict[str, jax.Array]:
    """Puts a batch of `count` rows on the devices.

    Args:
      batch: has the rows that `local_rows` names, which with one process are all.
    """
    # A process has its own rows of the batch and no others, but JAX's indices are those of the
    # whole.
    here = local_rows(mesh, count)

    def sharded(name: str, value: np.ndarray) -> jax.Array:
        def part(index: Any) -> np.ndarray:
            # The rows of a device follow each other in a batch, and so they do in what is here.
            rows = range(count)[index[0]]
            first = bisect_left(here, rows.start)
            return value[(slice(first, first + len(rows)), *index[1:])]

        spec = NamedSharding(mesh, batch_spec(name, value.ndim))
        return jax.make_array_from_callback((count, *value.shape[1:]), spec, part)

    return {name: sharded(name, np.asarray(value)) for name, value in batch.items()}


def batch_spec(name: str, ndim: int) -> PartitionSpec:
    """The sharding of an array of a batch.

    Rows or pairs (axis 0) are divided by the data-parallel axes, so that a pair stays together,
    and tokens (the last axis of `tokens`, `loss_mask`, ...) by `sequence`.
    """
    if name not in DTYPES:  # `reference`, which has no axis of tokens
        return PartitionSpec(LOGICAL_AXIS_RULES["batch"])
    batch, length = (LOGICAL_AXIS_RULES[axis] for axis in ("batch", "length"))
    return PartitionSpec(batch, *[None] * (ndim - 2), length)
