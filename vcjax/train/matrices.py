"""The matrices in a tree of parameters, for optimisers that work on whole ones.

Layers are stacked and heads have axes of their own (`[layers, hidden, heads, head_dim]`), but a
layer multiplies by an `[inputs, outputs]`.
"""

import math
from typing import Any

import jax
import optax
from jaxtyping import Array

Path = tuple[str, ...]
"""Keys from the root of a tree of parameters to a leaf."""

_INPUTS = {"o": 2}
"""Input axes of a projection's kernel, where they aren't one: attention's output has heads."""

_MATRICES = ("kernel", "lora_a", "lora_b", "embedding", "head")


def path_of(entries: tuple[Any, ...]) -> Path:
    """The path that `jax.tree_util` gives to a leaf of nested dicts, as plain keys."""
    return tuple(entry.key for entry in entries)


def matrix_axes(path: Path, ndim: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """(Input axes, output axes) of a leaf that is a matrix in each layer, else None."""
    if path[-1] not in _MATRICES:
        return None
    first = int(_stacked(path))
    inputs = _INPUTS.get(path[-2], 1) if path[-1] == "kernel" else 1
    return tuple(range(first, first + inputs)), tuple(range(first + inputs, ndim))


def is_hidden_matrix(path: Path, ndim: int) -> bool:
    """Whether the leaf is a matrix of the layers: no norm, bias, embedding or head."""
    return _stacked(path) and matrix_axes(path, ndim) is not None


def matrix_sides(path: Path, shape: tuple[int, ...]) -> tuple[int, int]:
    """(Inputs, outputs) of the matrix that a leaf is in each layer."""
    axes = matrix_axes(path, len(shape))
    assert axes is not None, path
    inputs, outputs = (math.prod(shape[axis] for axis in part) for part in axes)
    return inputs, outputs


def by_matrix(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Applies `inner` to each layer's matrix (or vector) by itself.

    So what `inner` takes over a whole array (rows and columns of a factored moment, the root mean
    square by which an update is clipped) is taken over a matrix of the model, and never over
    layers or heads. Its state is a tree of `inner`'s states, one for each parameter.
    """

    def init(params: Any) -> Any:
        def one(entries: tuple, leaf: Array) -> optax.OptState:
            path = path_of(entries)
            # Mapped over the layers: one program for all of them, and no layer's statistics in
            # another's.
            start = jax.vmap(inner.init) if _stacked(path) else inner.init
            return start(_matrix(path, leaf))

        return jax.tree_util.tree_map_with_path(one, params)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        leaves, tree = jax.tree_util.tree_flatten_with_path(params)
        # Where `params` has a leaf, the state has a tree: `inner`'s state of that leaf.
        parts = zip(leaves, tree.flatten_up_to(updates), tree.flatten_up_to(state), strict=True)
        directions, states = [], []
        for (entries, leaf), gradient, before in parts:
            path = path_of(entries)
            move: Any = jax.vmap(inner.update) if _stacked(path) else inner.update
            direction, after = move(_matrix(path, gradient), before, _matrix(path, leaf))
            directions.append(direction.reshape(leaf.shape))
            states.append(after)
        return tree.unflatten(directions), tree.unflatten(states)

    return optax.GradientTransformation(init, update)


def _stacked(path: Path) -> bool:
    return path[0] == "layers"


def _matrix(path: Path, leaf: Array) -> Array:
    """The leaf as [inputs, outputs] (or as a vector), after the axis of layers if it has one."""
    layers = leaf.shape[:1] if _stacked(path) else ()
    if matrix_axes(path, leaf.ndim) is None:
        return leaf.reshape(*layers, -1)
    return leaf.reshape(*layers, *matrix_sides(path, leaf.shape))
