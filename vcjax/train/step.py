"""One training step: gradients summed over microbatches, divided once, and an update."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from vcjax.model.build import Params
from vcjax.parallel import ShardingRules, replicated
from vcjax.train.loss import next_token_loss
from vcjax.train.state import Layout, sharding_of
from vcjax.weights.adapters import join

Batch = dict[str, Array]
MEASURED = ("loss", "loss_tokens", "tokens", "grad_norm", "learning_rate")


def make_step(
    layout: Layout,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    microbatches: int,
    mesh: Mesh,
    rules: ShardingRules,
) -> Callable[[Params, Any, Params, Batch, Array], tuple[Params, Any, dict[str, Array]]]:
    """Compiles `(trainable, optimizer state, frozen, batch, count) -> (trainable, state, metrics)`.

    `count` is the number of earlier updates. Trainable parameters and state are donated. The
    metrics (MEASURED) are scalars: `loss` (mean over the predicted tokens, in nats),
    `loss_tokens` (their number), `tokens` (those that aren't padding), `grad_norm` (before
    clipping) and `learning_rate`.
    """
    gradients = make_gradients(layout, microbatches, mesh, rules)

    def step(
        trainable: Params, state: Any, frozen: Params, batch: Batch, count: Array
    ) -> tuple[Params, Any, dict[str, Array]]:
        loss, loss_tokens, grads = gradients(trainable, frozen, batch)
        updates, state = optimizer.update(grads, state, trainable)
        metrics = {
            "loss": loss,
            "loss_tokens": loss_tokens,
            "tokens": jnp.sum(batch["segment_ids"] != 0),
            "grad_norm": optax.tree.norm(grads),
            "learning_rate": schedule(count),
        }
        return cast(Params, optax.apply_updates(trainable, updates)), state, metrics

    out = sharding_of(layout.trainable), sharding_of(layout.optimizer), replicated(mesh)
    return jax.jit(step, donate_argnums=(0, 1), out_shardings=out)


def make_gradients(
    layout: Layout, microbatches: int, mesh: Mesh, rules: ShardingRules
) -> Callable[[Params, Params, Batch], tuple[Array, Array, Params]]:
    """Returns `(trainable, frozen, batch) -> (mean loss, predicted tokens, its gradient)`.

    Loss, count and gradient are summed over the microbatches (and devices) and divided once, so
    that rows with few predicted tokens weigh no more than others.
    """

    def summed(trainable: Params, frozen: Params, batch: Batch) -> tuple[Array, Array]:
        return next_token_loss(nnx.merge(layout.graph, join(trainable, frozen)), batch)

    part = jax.value_and_grad(summed, has_aux=True)

    def gradients(trainable: Params, frozen: Params, batch: Batch) -> tuple[Array, Array, Params]:
        if microbatches == 1:
            (loss, count), grads = part(trainable, frozen, batch)
        else:
            rows = NamedSharding(mesh, PartitionSpec(None, rules.batch))

            def accumulate(total: tuple, piece: Batch) -> tuple[tuple, None]:
                return jax.tree.map(jnp.add, total, part(trainable, frozen, piece)), None

            def pieces(array: Array) -> Array:
                # Every microbatch-th row, so that each device keeps its own rows.
                split = array.reshape(-1, microbatches, *array.shape[1:]).swapaxes(0, 1)
                return jax.lax.with_sharding_constraint(split, rows)

            zeros = jax.tree.map(jnp.zeros_like, trainable)
            start = ((jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32)), zeros)
            pieces_of = {name: pieces(array) for name, array in batch.items()}
            ((loss, count), grads), _ = jax.lax.scan(accumulate, start, pieces_of)
        whole = jnp.maximum(count, 1).astype(jnp.float32)  # a batch may have nothing to predict
        return loss / whole, count, jax.tree.map(lambda leaf: leaf / whole, grads)

    return gradients
