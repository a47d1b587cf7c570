"""The optimiser's state in the host's memory, and a small part of it at a time on the device.

A moment is stored in the memory that its sharding names (`pinned_host`). A step fetches, updates
and stores the state of one layer after the other, then that of each leaf outside of the layers, so
that the device never has more than such a part of it.

See https://docs.jax.dev/en/latest/notebooks/host-offloading.html
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jaxtyping import Array, Bool, Float

from vcjax.core.errors import UserError
from vcjax.model.build import Params
from vcjax.model.lora import join_params
from vcjax.train.config import TrainConfig
from vcjax.train.optim import Optimizer, split_frozen

HOST = "pinned_host"
_DEVICE = "device"
LAYERS = "layers"
"""The part of the parameters that is fetched a layer at a time."""


def check_offload(config: TrainConfig, devices: Sequence[Any]) -> None:
    """Checks that a config's `offload` can be had.

    Raises:
      UserError: one of the devices reaches no memory of its host.
    """
    for device in devices if config.offload else ():
        if HOST not in {memory.kind for memory in device.addressable_memories()}:
            raise UserError(
                f"config.offload: {device.platform} devices reach no {HOST} memory here; set it "
                "to False"
            )


def is_offloaded(shardings: Any) -> bool:
    """Whether any leaf of a state is stored in the host's memory."""
    return any(each.memory_kind == HOST for each in jax.tree.leaves(shardings))


def update_by_parts(
    optimizer: Optimizer,
    gradients: Params,
    state: Any,
    trainable: Params,
    *,
    norm: Float[Array, ""],
    learning_rate: Float[Array, ""],
    count: Float[Array, ""],
    wanted: Bool[Array, ""],
    shardings: Any,
) -> tuple[Params, Any]:
    """`Optimizer.update` inside of a compiled step, for a state in the host's memory.

    Every optimiser treats each leaf by itself and, where it works on matrices, each layer by
    itself (see `vcjax.train.matrices`), so an update may be made of any parts. Each part is a loop
    that runs 0 times where the update isn't `wanted`: nothing is moved then, and parameters and
    state stay as they are. Since the compiler doesn't know how often a loop runs, it can't fetch
    anything before the loop begins, that is, before the gradients are there.

    Args:
      gradients, norm, count: see `Optimizer.update`.
      shardings: of the state, which name the memory of each leaf.
    """
    trained, still = split_frozen(optimizer.groups, trainable)
    gradients, _ = split_frozen(optimizer.groups, gradients)

    # Optax's states are named tuples of counts and of trees shaped like the parameters; those trees
    # are what is cut, whatever the optimiser calls them.
    def is_tree(node: Any) -> bool:
        return isinstance(node, dict) and node.keys() == trained.keys()

    def cut(tree: Any, name: str) -> Any:
        return jax.tree.map(
            lambda node: {name: node[name]} if is_tree(node) else node, tree, is_leaf=is_tree
        )

    moved, parts = {}, []
    for name, leaves in trained.items():
        where = cut(shardings, name)
        whole, stored = {name: leaves}, cut(state, name)
        slopes = {name: gradients[name]}
        # Layers are stacked: every leaf's first axis is that of layers.
        times = jax.tree.leaves(leaves)[0].shape[0] if name == LAYERS else 1
        change = partial(optimizer.update, norm=norm, learning_rate=learning_rate, count=count)
        update = _update_of_part(change, slopes, stored, where)
        whole, stored = jax.lax.fori_loop(0, jnp.where(wanted, times, 0), update, (whole, stored))
        moved |= whole
        parts.append(stored)

    def merged(node: Any, *parts: Any) -> Any:
        if not is_tree(node):
            return parts[-1]  # a count, which each part has advanced by the same one
        return {name: leaf for part in parts for name, leaf in part.items()}

    return join_params(moved, still), jax.tree.map(merged, state, *parts, is_leaf=is_tree)


def _update_of_part(
    change: Callable[..., tuple[Params, Any]], gradients: Params, state: Any, shardings: Any
) -> Callable[[Array, tuple[Params, Any]], tuple[Params, Any]]:
    """The body of the loop over the slices of a part: of `layers` each layer, of others the whole.

    Args:
      change: an `Optimizer.update` of whatever it is given.
      gradients: of the part, a dict with its one name; the trees of parameters in `state` and
        `shardings` are so too.
      state: as before the loop; its counts are those of every slice.
    """

    def is_tree(node: Any) -> bool:
        return isinstance(node, dict) and node.keys() == gradients.keys()

    def update(index: Array, carry: tuple[Params, Any]) -> tuple[Params, Any]:
        whole, stored = carry

        def take(leaf: Array) -> Array:
            if LAYERS not in gradients:
                return leaf
            return jax.lax.dynamic_slice_in_dim(leaf, index, 1)

        def put(leaf: Array, new: Array) -> Array:
            if LAYERS not in gradients:
                return new
            return jax.lax.dynamic_update_slice_in_dim(leaf, new, index, 0)

        def fetched(node: Any, before: Any, where: Any) -> Any:
            # A count as before the loop: the slices are all of one step, which counts once.
            if not is_tree(node):
                return before
            return jax.tree.map(lambda leaf, at: _on_device(take(leaf), at), node, where)

        def kept(node: Any, new: Any, where: Any) -> Any:
            if not is_tree(node):
                return new
            return jax.tree.map(
                lambda leaf, new, at: put(leaf, jax.device_put(new, at)), node, new, where
            )

        near = jax.tree.map(fetched, stored, state, shardings, is_leaf=is_tree)
        slopes, slices = jax.tree.map(take, gradients), jax.tree.map(take, whole)
        slices, near = change(slopes, state=near, trainable=slices)
        # Written back in the same turn: what the next one fetches is part of its carry, so that the
        # device has one slice of the state at a time.
        stored = jax.tree.map(kept, stored, near, shardings, is_leaf=is_tree)
        return jax.tree.map(put, whole, slices), stored

    return update


def _on_device(leaf: Array, at: NamedSharding) -> Array:
    return jax.device_put(leaf, at.with_memory_kind(_DEVICE))
