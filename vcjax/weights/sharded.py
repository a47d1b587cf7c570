"""A stored model read onto a mesh: each process reads the shards of its own devices, once.

The stacked arrays are filled a layer at a time, on the host, in the dtype that they will have; no
process ever has the whole model, or a tensor of it in a second dtype beside the first.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from vcjax.model.build import Params
from vcjax.model.config import LlamaConfig
from vcjax.model.quantised import quantise
from vcjax.weights.mapping import Bounds, Source, StackedSource, TensorLocation, tensor_locations

_FORMS = {"int8": "int8", "uint8": "nf4"}
"""The form of quantised kernels, by the dtype of their codes."""


def load_sharded(source: Source, config: LlamaConfig, layout: Params) -> Params:
    """Reads a model onto a mesh.

    Every process calls it, with the same layout. Of a tensor it reads the smallest box that has
    its devices' shards: with fully sharded parameters over N processes, 1/N of it. A kernel that
    will be quantised is read with all of its inputs, since they share scales.

    Args:
      source: tensors that `check_tensors` has found to be those of `config`.
      layout: `jax.ShapeDtypeStruct`s with shardings, in the tree of the model's parameters. In
        stead of a kernel there may be `codes` and `scales`; see `vcjax.model.quantised`.
    """
    stacked: dict[tuple[str, ...], list[TensorLocation]] = defaultdict(list)
    for location in tensor_locations(config):
        stacked[location.path].append(location)
    flat: dict[tuple[str, ...], Any] = flatten_dict(layout)
    # A run's own checkpoint has the layers stacked: Orbax restores it straight onto the mesh.
    if isinstance(source, StackedSource) and flat.keys() == stacked.keys():
        return source.onto(layout)
    loaded = {}
    for path, layers in stacked.items():
        if path in flat:
            shards = _LocalShards(flat[path])
            for location in layers:
                # The last axes: a stacked leaf has one of layers before those of a location.
                bounds = shards.hull[len(shards.hull) - len(location.shape) :]
                shards.fill(location.layer, location.read(source, bounds), bounds)
            loaded[path] = shards.array()
        else:
            parts = [(*path, name) for name in ("codes", "scales")]
            arrays = _load_quantised(source, layers, *(flat[part] for part in parts))
            loaded.update(zip(parts, arrays, strict=True))
    return unflatten_dict(loaded)


def _load_quantised(
    source: Source, layers: Sequence[TensorLocation], *layout: jax.ShapeDtypeStruct
) -> list[jax.Array]:
    """Codes and scales of one projection, quantised on the host a layer at a time."""
    parts = [_LocalShards(like) for like in layout]
    codes, scales = parts
    shape, count = layers[0].shape, 2 if layers[0].path[-2] == "o" else 1
    inputs = tuple((0, size) for size in shape[:count])
    # Codes are [layers, *inputs, *outputs], scales [layers, blocks, *outputs]; what is read must
    # have the outputs of both.
    both = zip(codes.hull[1 + count :], scales.hull[2:], strict=True)
    outputs = tuple((min(a, c), max(b, d)) for (a, b), (c, d) in both)
    form = _FORMS[codes.like.dtype.name]
    compiled = jax.jit(partial(quantise, form=form, inputs=count))
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        for location in layers:
            kernel = location.read(source, (*inputs, *outputs)).astype(jnp.float32)
            made = compiled(kernel)
            for part, name in zip(parts, ("codes", "scales"), strict=True):
                value = np.asarray(made[name])
                whole = ((0, size) for size in value.shape[: value.ndim - len(outputs)])
                part.fill(location.layer, value, (*whole, *outputs))
    return [part.array() for part in parts]


class _LocalShards:
    """The parts of one array that this process's devices will have, while they are read."""

    def __init__(self, like: jax.ShapeDtypeStruct) -> None:
        self.like = like
        shards = like.sharding.addressable_devices_indices_map(like.shape).values()
        # A set: replicas of one shard on several devices of this process are read once and share a
        # buffer.
        boxes = {_bounds(index, like.shape) for index in shards}
        self._parts = {
            box: np.empty([stop - start for start, stop in box], like.dtype) for box in boxes
        }

    @property
    def hull(self) -> Bounds:
        """The smallest box with all parts in it."""
        # One read for all: a process's shards are neighbours, mostly, and reading each by itself
        # would seek through every row once for each of them.
        axes = zip(*self._parts, strict=True)
        return tuple((min(a for a, _ in axis), max(b for _, b in axis)) for axis in axes)

    def fill(self, layer: int | None, value: np.ndarray, bounds: Bounds) -> None:
        """Takes what is between `bounds` of one layer, or of an array that isn't stacked."""
        for box, part in self._parts.items():
            own, target = box, part
            if layer is not None:
                (first, last), *rest = box
                if not first <= layer < last:  # the stack itself is sharded by layers
                    continue
                own, target = tuple(rest), part[layer - first]
            pairs = zip(own, bounds, strict=True)
            target[...] = value[
                tuple(slice(start - low, stop - low) for (start, stop), (low, _) in pairs)
            ]

    def array(self) -> jax.Array:
        """The array over all processes, once all of them have filled their parts.

        It is on the devices then: a copy that is still under way keeps its parts on the host while
        the next array is filled beside them.
        """
        shape, sharding = self.like.shape, self.like.sharding
        array = jax.make_array_from_callback(
            shape, sharding, lambda index: self._parts[_bounds(index, shape)]
        )
        return jax.block_until_ready(array)


def _bounds(index: tuple[slice, ...] | None, shape: tuple[int, ...]) -> Bounds:
    slices = zip(index or (), shape, strict=True)
    return tuple(one.indices(size)[:2] for one, size in slices)
