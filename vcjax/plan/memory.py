"""Bytes that a step needs on a device, counted without a compiler."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.tree_util import DictKey

from vcjax.model.build import Params, abstract, logical_axes, shapes
from vcjax.model.config import LlamaConfig
from vcjax.model.lora import join_params, split_adapters
from vcjax.parallel import abstract_mesh, shardings
from vcjax.plan.setting import Setting, abstract_batch, batch_shapes
from vcjax.train.config import TrainConfig
from vcjax.train.losses import CHUNK, make_loss
from vcjax.train.offload import HOST, LAYERS
from vcjax.train.settings import MeshSettings

BESIDE = jnp.bfloat16
"""The dtype of models that are on the same devices and aren't trained."""


@dataclass(frozen=True)
class State:
    """Bytes per device of the arrays of a step, which are known without tracing it.

    Attributes:
      parameters: trained ones in float32, frozen ones in the compute dtype or quantised.
      optimizer: its state, as far as it isn't in the host's memory.
      batch: tokens, masks, segments and positions.
      gradients: a float32 number for each trained parameter; two while they are summed up.
      update: of an optimiser's state in the host's memory, the largest part that a step fetches,
        and its new values.
      beside: other models.
    """

    parameters: int
    optimizer: int
    batch: int
    gradients: int
    update: int
    beside: int

    @property
    def arguments(self) -> int:
        """What the step is given."""
        return self.parameters + self.optimizer + self.batch

    @property
    def least(self) -> int:
        """What is needed whatever a forward pass computes."""
        return self.arguments + self.gradients + self.beside


@dataclass(frozen=True)
class Memory(State):
    """Bytes per device of all that a step needs.

    Attributes:
      activations: what the forward pass keeps for the backward pass.
      layer: all that one layer computes, and its weights, whole, with the next layer's.
      logits: those of a chunk of tokens; the head, whole, and its gradient.
    """

    activations: int
    layer: int
    logits: int

    @property
    def temporaries(self) -> int:
        """What it needs beside its arguments; loss, layers and update come one after the other."""
        forward_and_backward = self.activations + max(self.layer, self.logits)
        return self.gradients + max(forward_and_backward, self.update)

    @property
    def total(self) -> int:
        """What a device needs in all, other models included."""
        return self.arguments + self.temporaries + self.beside


def count_state(setting: Setting) -> State:
    """Counts what a setting's arrays take."""
    layout = setting.layout
    trained = device_bytes(layout.trainable)
    return State(
        parameters=trained + device_bytes(layout.frozen),
        optimizer=device_bytes(layout.optimizer),
        batch=device_bytes(abstract_batch(setting)),
        gradients=trained * (1 if setting.config.microbatches == 1 else 2),
        update=_fetched_bytes(layout.trainable, layout.optimizer),
        beside=sum(_beside(model, setting) for model in setting.beside),
    )


def count_memory(setting: Setting) -> Memory:
    """Counts what a setting needs; activations by tracing the loss on a device's part of it."""
    config = setting.config
    size = jnp.dtype(config.dtype).itemsize
    # A frozen weight has no gradient; those of others are as large as they, in the compute dtype.
    copies = 1 if config.adapters else 2
    local, items = _local_model(setting), setting.local_items
    weights = _layer_size(local) * size
    one = replace(local, num_layers=1, windows=local.windows[:1])
    working = items * _kept_by_item(one, replace(config, remat="none"), setting)
    # The head is whole, in the two orders that its matmuls need; the loss of a sum forms its
    # gradient at the same time, in float32 (a loss by row, of preferences, doesn't).
    summed = 0 if config.adapters or config.kind == "preferences" else 4
    heads = 2 * size + summed
    tokens = min(CHUNK, setting.local_tokens // config.microbatches)
    return Memory(
        **vars(count_state(setting)),
        activations=items * _kept_by_item(local, config, setting),
        layer=working + (1 + copies) * weights,
        logits=local.vocab_size * (heads * local.hidden_size + tokens * (4 + size)),
    )


def device_bytes(tree: Any) -> int:
    """Bytes of a tree's leaves on one device; none for those in the host's memory."""
    return sum(_share(leaf) for leaf in jax.tree.leaves(tree) if leaf.sharding.memory_kind != HOST)


def host_bytes(tree: Any) -> int:
    """Bytes of a tree's leaves that one device has in the host's memory."""
    return sum(_share(leaf) for leaf in jax.tree.leaves(tree) if leaf.sharding.memory_kind == HOST)


def _share(leaf: Any) -> int:
    return int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize


def _fetched_bytes(trainable: Params, state: Any) -> int:
    """Of a state in the host's memory: what is fetched at a time, as `vcjax.train.offload` does,
    and the new values beside it."""
    parts = dict.fromkeys(trainable, 0)
    for entries, leaf in jax.tree_util.tree_leaves_with_path(state):
        keys = (entry.key for entry in entries if isinstance(entry, DictKey))
        name = next((key for key in keys if key in parts), None)
        if name is not None and leaf.sharding.memory_kind == HOST:
            parts[name] += _share(leaf) // (leaf.shape[0] if name == LAYERS else 1)
    return 2 * max(parts.values())


def _beside(model: LlamaConfig, setting: Setting) -> int:
    tree = shapes(model, param_dtype=BESIDE)
    where = shardings(setting.mesh, logical_axes(model), tree)
    return device_bytes(jax.tree.map(lambda leaf, at: leaf.update(sharding=at), tree, where))


def _local_model(setting: Setting) -> LlamaConfig:
    """The model as a device of the tensor axis computes it: its heads, its part of the rest."""
    model, local = setting.model, setting.local
    heads = local("heads", model.num_heads)
    return replace(
        model,
        num_heads=heads,
        num_kv_heads=min(heads, local("kv_heads", model.num_kv_heads)),
        intermediate_size=local("mlp", model.intermediate_size),
        vocab_size=local("vocab", model.vocab_size),
    )


def _kept_by_item(model: LlamaConfig, config: TrainConfig, setting: Setting) -> int:
    """Bytes that one more row, or pair of rows, adds to what the backward pass needs."""
    attention, platform = setting.attention, setting.topology.platform
    if attention == "cudnn":  # can't be traced where it isn't; it keeps what splash keeps
        attention, platform = "splash", "tpu"
    traced = replace(
        config,
        attention=attention,
        length=setting.local("length", config.length),
        batch_size=1,
        microbatches=1,
        optimizer="adamw",
        offload=False,
        mesh=MeshSettings(1, 1, 1, 1),  # what is traced is one device's part
    )
    return _kept_by_traced_item(model, traced, platform)


@cache
def _layer_size(model: LlamaConfig) -> int:
    stack = jax.tree.leaves(shapes(model)["layers"])
    return sum(leaf.size for leaf in stack) // model.num_layers


@cache
def _kept_by_traced_item(model: LlamaConfig, config: TrainConfig, platform: str) -> int:
    lora, dtype = config.adapters, jnp.dtype(config.dtype)
    mesh = abstract_mesh({}, 1, "", platform)
    options = {"remat": config.remat, "attention": config.attention, "mesh": mesh}
    graph, _ = abstract(model, dtype=dtype, lora=lora, **options)
    params = shapes(model, lora=lora, param_dtype=dtype)
    trainable, frozen = split_adapters(params) if lora else (params, {})
    loss = make_loss(config)

    def backward(trainable: Any, frozen: Any, batch: Any) -> Any:
        def summed(trainable: Any) -> jax.Array:
            return loss(nnx.merge(graph, join_params(trainable, frozen)), batch)[0]

        return jax.vjp(summed, trainable)[1]

    def kept(items: int) -> int:
        batch = batch_shapes(config, items, config.length)
        leaves = jax.tree.leaves(jax.eval_shape(backward, trainable, frozen, batch))
        return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)

    # The difference leaves out what doesn't grow with the rows: the parameters themselves.
    return kept(2) - kept(1)
