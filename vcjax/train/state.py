"""What a run holds on its devices: where each array lies, and what it is at the start."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from vcjax.foundation.seeds import derive_seed
from vcjax.model.build import Params, abstract, logical_axes, shapes
from vcjax.model.config import LlamaConfig
from vcjax.model.llama import Llama
from vcjax.parallel import ShardingRules, put, replicated, shardings
from vcjax.train.config import TrainConfig
from vcjax.weights.adapters import split_adapters


@dataclass(frozen=True)
class Layout:
    """Shapes, dtypes and shardings (`jax.ShapeDtypeStruct` leaves) of a run's arrays.

    Attributes:
      graph: static part of the model; `nnx.merge(graph, params)` gives the model.
      trainable: float32 leaves that are trained: all of them, or the adapters.
      frozen: the other leaves, in the compute dtype, as nothing else is done with them.
      optimizer: state of the optimiser.
    """

    graph: Any
    trainable: Params
    frozen: Params
    optimizer: Any


def make_layout(
    model: LlamaConfig,
    config: TrainConfig,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    rules: ShardingRules,
) -> Layout:
    """Lays a run out over a mesh; allocates nothing."""
    lora, dtype = config.adapters, jnp.dtype(config.dtype)
    options = {"remat": config.remat, "attention": config.attention}
    graph, _ = abstract(model, dtype=dtype, lora=lora, **options)
    tree = shapes(model, lora=lora)
    places = shardings(mesh, rules, logical_axes(model, lora=lora), tree)
    placed = jax.tree.map(_placed, tree, places)
    trainable, frozen = split_adapters(placed) if lora else (placed, {})
    frozen = jax.tree.map(lambda leaf: leaf.update(dtype=dtype), frozen)
    everywhere = replicated(mesh)
    state = optax.tree_map_params(
        optimizer,
        lambda leaf, like: _placed(leaf, like.sharding),
        jax.eval_shape(optimizer.init, trainable),
        trainable,
        transform_non_params=lambda leaf: _placed(leaf, everywhere),
    )
    return Layout(graph, trainable, frozen, state)


def sharding_of(tree: Any) -> Any:
    """The shardings of a part of a layout."""
    return jax.tree.map(lambda leaf: leaf.sharding, tree)


def place(params: Params, layout: Params) -> Params:
    """Puts a model's parameters where the layout says, in its dtypes."""
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


def _placed(leaf: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
