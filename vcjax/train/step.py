"""One training step: gradients summed over microbatches, divided once, and an update."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from vcjax.model.build import Params
from vcjax.parallel import ShardingRules, replicated
from vcjax.train.objective import Loss
from vcjax.train.offload import is_offloaded, update_by_parts
from vcjax.train.optim import Optimizer
from vcjax.train.placement import batch_spec
from vcjax.train.state import Layout, sharding_of
from vcjax.weights.adapters import join

Batch = dict[str, Array]
MEASURED = ("loss", "loss_tokens", "tokens", "grad_norm", "learning_rate", "skipped")


def make_step(
    layout: Layout,
    loss: Loss,
    optimizer: Optimizer,
    schedule: optax.Schedule,
    microbatches: int,
    mesh: Mesh,
    rules: ShardingRules,
) -> Callable[[Params, Any, Params, Batch, Array], tuple[Params, Any, dict[str, Array]]]:
    """Compiles `(trainable, optimizer state, frozen, batch, count) -> (trainable, state, metrics)`.

    `count` is the number of earlier steps. Trainable parameters and state are donated. The
    metrics (MEASURED) are scalars: `loss` (mean over the predicted tokens, or over the pairs, in
    nats), `loss_tokens` (those predicted), `tokens` (those that aren't padding), `grad_norm`
    (before clipping), `learning_rate` and `skipped` (0 or 1); then the means of whatever else
    `loss` sums up. Where loss or gradient norm isn't finite the update is skipped: parameters and
    state stay as they are, bit for bit.
    """
    sums = make_sums(layout, loss, microbatches, mesh, rules)
    held = sharding_of(layout.optimizer)

    def step(
        trainable: Params, state: Any, frozen: Params, batch: Batch, count: Array
    ) -> tuple[Params, Any, dict[str, Array]]:
        drop_key = None
        if layout.drop_seed is not None:
            drop_key = jax.random.fold_in(jax.random.key(layout.drop_seed), count)
        # Gradients stay sums: what is divided lies beside what isn't, a second time in memory.
        means, whole, grads = sums(trainable, frozen, batch, drop_key)
        whole = jnp.maximum(whole, 1).astype(jnp.float32)
        norm, rate = optimizer.norm(grads) / whole, jnp.asarray(schedule(count))
        finite = jnp.isfinite(means["loss"]) & jnp.isfinite(norm)

        def update(trainable: Params, state: Any) -> tuple[Params, Any]:
            return optimizer.update(grads, norm, state, trainable, rate, whole)

        if is_offloaded(held):
            trainable, state = update_by_parts(
                optimizer, grads, norm, state, trainable, rate, whole, finite, held
            )
        else:
            # Both branches work in place; `where` would hold the old and the new values at once.
            trainable, state = jax.lax.cond(finite, update, lambda *same: same, trainable, state)
        metrics = {
            **means,
            "loss_tokens": jnp.sum(batch["loss_mask"]),
            "tokens": jnp.sum(batch["segment_ids"] != 0),
            "grad_norm": norm,
            "learning_rate": rate,
            "skipped": 1 - finite.astype(jnp.int32),
        }
        return trainable, state, metrics

    out = sharding_of(layout.trainable), held, replicated(mesh)
    return jax.jit(step, donate_argnums=(0, 1), out_shardings=out)


def make_gradients(
    layout: Layout, loss: Loss, microbatches: int, mesh: Mesh, rules: ShardingRules
) -> Callable[..., tuple[dict[str, Array], Array, Params]]:
    """Returns `(trainable, frozen, batch, drop_key) -> (means, count, gradient of mean loss)`.

    See `make_sums`. Sums, count and gradient are divided once, so that rows with few predicted
    tokens weigh no more than others.
    """
    sums = make_sums(layout, loss, microbatches, mesh, rules)

    def gradients(
        trainable: Params, frozen: Params, batch: Batch, drop_key: Array | None = None
    ) -> tuple[dict[str, Array], Array, Params]:
        means, count, grads = sums(trainable, frozen, batch, drop_key)
        whole = jnp.maximum(count, 1).astype(jnp.float32)
        return means, count, jax.tree.map(lambda leaf: leaf / whole, grads)

    return gradients


def make_sums(
    layout: Layout, loss: Loss, microbatches: int, mesh: Mesh, rules: ShardingRules
) -> Callable[..., tuple[dict[str, Array], Array, Params]]:
    """Returns `(trainable, frozen, batch, drop_key) -> (means, count, gradient of summed loss)`.

    `means` has `loss` and what else `loss` sums up. All are summed over the microbatches (and
    devices); `means` are divided by `count` after that. `drop_key` is the step's key of dropout,
    None for none.
    """

    def summed(
        trainable: Params, frozen: Params, batch: Batch, drop_key: Array | None
    ) -> tuple[Array, dict[str, Array]]:
        model = nnx.merge(layout.graph, join(trainable, frozen))
        model.drop_key = drop_key
        return loss(model, batch)

    part = jax.value_and_grad(summed, has_aux=True)

    def summed_gradients(
        trainable: Params, frozen: Params, batch: Batch, drop_key: Array | None
    ) -> tuple[dict[str, Array], Array, Params]:
        if microbatches == 1:
            (total, sums), grads = part(trainable, frozen, batch, drop_key)
        else:
            keys = None if drop_key is None else jax.random.split(drop_key, microbatches)

            def accumulate(so_far: tuple, piece: tuple) -> tuple[tuple, None]:
                return jax.tree.map(jnp.add, so_far, part(trainable, frozen, *piece)), None

            def pieces(name: str, array: Array) -> Array:
                # Every microbatch-th row, so that each device keeps its own rows.
                split = array.reshape(-1, microbatches, *array.shape[1:]).swapaxes(0, 1)
                spec = PartitionSpec(None, *batch_spec(name, array.ndim, rules))
                return jax.lax.with_sharding_constraint(split, NamedSharding(mesh, spec))

            split = {name: pieces(name, array) for name, array in batch.items()}
            first = {name: array[0] for name, array in split.items()}
            start = optax.tree.zeros_like(jax.eval_shape(part, trainable, frozen, first, drop_key))
            ((total, sums), grads), _ = jax.lax.scan(accumulate, start, (split, keys))
        count = sums.pop("count")
        whole = jnp.maximum(count, 1).astype(jnp.float32)  # a batch may have nothing to predict
        means = {name: value / whole for name, value in {"loss": total, **sums}.items()}
        return means, count, grads

    return summed_gradients
