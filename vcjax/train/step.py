"""A step of training: the gradients of the config's objective, and an update of the optimiser.

Gradients are summed over microbatches and devices and divided once. `vcjax.train.loop` calls the
step, and `vcjax.plan` compiles the same one for devices that aren't here.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array

from vcjax.model.build import Params
from vcjax.model.lora import join_params
from vcjax.parallel import replicated
from vcjax.train.layout import Layout, batch_spec, sharding_of
from vcjax.train.losses import Loss
from vcjax.train.offload import is_offloaded, update_by_parts
from vcjax.train.optim import Optimizer

Batch = dict[str, Array]


def make_step(
    layout: Layout,
    loss: Loss,
    optimizer: Optimizer,
    schedule: optax.Schedule,
    microbatches: int,
) -> Callable[[Params, Any, Params, Batch, Array], tuple[Params, Any, dict[str, Array]]]:
    """Compiles `(trainable, optimizer state, frozen, batch, count) -> (trainable, state, metrics)`.

    `count` is the number of earlier steps. Trainable parameters and state are donated. The
    metrics are scalars: `loss` (mean over the predicted tokens, or over the pairs, in
    nats), `loss_tokens` (those predicted), `tokens` (those that aren't padding), `grad_norm`
    (before clipping), `learning_rate` and `skipped` (0 or 1); then the means of whatever else
    `loss` sums up. Where loss or gradient norm isn't finite the update is skipped: parameters and
    state stay as they are, bit for bit.
    """
    gradients = make_gradients(layout, loss, microbatches)
    shardings = sharding_of(layout.optimizer)

    def step(
        trainable: Params, state: Any, frozen: Params, batch: Batch, count: Array
    ) -> tuple[Params, Any, dict[str, Array]]:
        # A function of seed and step: a continued run drops what an uninterrupted one would.
        drop_key = None
        if layout.drop_seed is not None:
            drop_key = jax.random.fold_in(jax.random.key(layout.drop_seed), count)
        # Gradients stay sums: XLA keeps divided ones beside them, a second copy in memory.
        means, terms, grads = gradients(trainable, frozen, batch, drop_key)
        terms = jnp.maximum(terms, 1).astype(jnp.float32)
        norm, rate = optimizer.norm(grads) / terms, jnp.asarray(schedule(count))
        # Both, since either may fail alone: a backward pass can overflow under a finite loss, and a
        # NaN in one gradient would reach every parameter through the global norm.
        finite = jnp.isfinite(means["loss"]) & jnp.isfinite(norm)

        def update(trainable: Params, state: Any) -> tuple[Params, Any]:
            return optimizer.update(grads, norm, state, trainable, rate, count=terms)

        if is_offloaded(shardings):
            trainable, state = update_by_parts(
                optimizer,
                grads,
                state,
                trainable,
                norm=norm,
                learning_rate=rate,
                count=terms,
                wanted=finite,
                shardings=shardings,
            )
        else:
            # Both branches work in place; `where` would need the old and new values at once.
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

    out = sharding_of(layout.trainable), shardings, replicated(layout.mesh)
    return jax.jit(step, donate_argnums=(0, 1), out_shardings=out)


def make_gradients(
    layout: Layout, loss: Loss, microbatches: int
) -> Callable[..., tuple[dict[str, Array], Array, Params]]:
    """Returns `(trainable, frozen, batch, drop_key) -> (means, count, gradient of summed loss)`.

    `means` has `loss` and what else `loss` sums up. All are summed over the microbatches (and
    devices); `means` are divided by `count` after that, and whoever uses the gradient divides it,
    so that rows with few predicted tokens weigh no more than others. `drop_key` is the step's key
    of dropout, None for none.
    """

    def summed_loss(
        trainable: Params, frozen: Params, batch: Batch, drop_key: Array | None
    ) -> tuple[Array, dict[str, Array]]:
        # Merged inside of what is differentiated, so that gradients are a plain tree of arrays.
        model = nnx.merge(layout.graph, join_params(trainable, frozen))
        model.drop_key = drop_key
        return loss(model, batch)

    value_and_grad = jax.value_and_grad(summed_loss, has_aux=True)

    def gradients(
        trainable: Params, frozen: Params, batch: Batch, drop_key: Array | None
    ) -> tuple[dict[str, Array], Array, Params]:
        if microbatches == 1:
            (total, sums), grads = value_and_grad(trainable, frozen, batch, drop_key)
        else:
            # Each microbatch drops inputs of its own, as the rows of one large batch would.
            keys = None if drop_key is None else jax.random.split(drop_key, microbatches)

            def accumulate(so_far: tuple, piece: tuple) -> tuple[tuple, None]:
                part = value_and_grad(trainable, frozen, *piece)
                return jax.tree.map(jnp.add, so_far, part), None

            def pieces(name: str, array: Array) -> Array:
                # Every microbatch-th row, so that each device keeps its own rows.
                split = array.reshape(-1, microbatches, *array.shape[1:]).swapaxes(0, 1)
                spec = PartitionSpec(None, *batch_spec(name, array.ndim))
                return jax.lax.with_sharding_constraint(split, NamedSharding(layout.mesh, spec))

            split = {name: pieces(name, array) for name, array in batch.items()}
            first = {name: array[0] for name, array in split.items()}
            # A scan and no Python loop: the activations of one microbatch alone are alive at a
            # time, which is what microbatches are for.
            shapes = jax.eval_shape(value_and_grad, trainable, frozen, first, drop_key)
            # In the dtypes of the gradients, which are float32 for trained parameters.
            start = optax.tree.zeros_like(shapes)
            ((total, sums), grads), _ = jax.lax.scan(accumulate, start, (split, keys))
        count = sums.pop("count")
        terms = jnp.maximum(count, 1).astype(jnp.float32)  # a batch may have nothing to predict
        # A mean of the microbatches' means would weigh a token by how few others its microbatch has
        # to predict, and conversations differ in that by orders of magnitude.
        means = {name: value / terms for name, value in {"loss": total, **sums}.items()}
        return means, count, grads

    return gradients
