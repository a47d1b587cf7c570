"""The step and its sums, adapters, and the same step on eight devices."""

import jax
import numpy as np
import pytest
from flax import nnx

from tests.train.gradients import mean_gradients
from vcjax.model.build import abstract, packed_logits
from vcjax.model.lora import join_params, merge_lora
from vcjax.parallel import make_mesh
from vcjax.train.layout import init_adapters, make_layout, shard_batch, shard_params
from vcjax.train.losses import next_token_loss
from vcjax.train.optim import make_optimizer, make_schedule
from vcjax.train.step import make_step

LORA = {"rank": 2, "alpha": 8.0, "targets": "q|down"}


def close(one, other, atol=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol), one, other)


@pytest.mark.parametrize("lora", [None, LORA])
def test_microbatches_give_the_loss_and_gradient_of_the_whole(
    model_config, params, make_config, random_batch, lora
):
    config = make_config(**({"lora": lora} if lora else {}))
    mesh = make_mesh({"fsdp": -1})
    layout = make_layout(model_config, config, make_optimizer(config), mesh)
    parts = (params, {})
    if lora:  # adapters with a B that isn't zero, so that both have a gradient
        rng = np.random.default_rng(0)
        random = jax.tree.map(lambda leaf: rng.normal(0, 0.1, leaf.shape), layout.trainable)
        parts = (shard_params(random, layout.trainable), params)
    batch = random_batch(6, 24)
    whole = jax.jit(mean_gradients(layout, next_token_loss, 1))(*parts, batch)
    for microbatches in (3, 6):
        gradients = mean_gradients(layout, next_token_loss, microbatches)
        split = jax.jit(gradients)(*parts, batch)
        assert int(split[1]) == int(whole[1])
        np.testing.assert_allclose(split[0]["loss"], whole[0]["loss"], rtol=1e-6)
        close(split[2], whole[2])


def test_a_batch_without_anything_to_predict_has_loss_zero(
    model_config, params, make_config, random_batch
):
    config, mesh = make_config(), make_mesh({"fsdp": -1})
    layout = make_layout(model_config, config, make_optimizer(config), mesh)
    batch = random_batch(2, 24)
    batch["loss_mask"] = np.zeros_like(batch["loss_mask"])
    gradients = jax.jit(mean_gradients(layout, next_token_loss, 1))
    means, count, grads = gradients(params, {}, batch)
    assert (float(means["loss"]), int(count)) == (0.0, 0)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(grads))


def test_fresh_adapters_leave_the_model_as_it_is_and_trained_ones_merge(
    model_config, params, make_config, random_batch
):
    config, mesh = make_config(lora=LORA), make_mesh({"fsdp": -1})
    optimizer = make_optimizer(config)
    layout = make_layout(model_config, config, optimizer, mesh)
    frozen = shard_params(params, layout.frozen)
    adapters = init_adapters(model_config, config, layout.trainable)
    close(adapters, init_adapters(model_config, config, layout.trainable), atol=0)

    batch = random_batch(2, 24)
    args = batch["tokens"], batch["positions"], batch["segment_ids"]
    plain = packed_logits(abstract(model_config)[0], params, *args)
    close(packed_logits(layout.graph, join_params(adapters, frozen), *args), plain, atol=0)

    step = make_step(layout, next_token_loss, optimizer, make_schedule(config), 1)
    state, placed = (
        jax.jit(optimizer.init)(adapters),
        shard_batch(batch, mesh, 2),
    )
    for count in range(3):
        adapters, state, metrics = step(adapters, state, frozen, placed, count)
    names = {"loss", "loss_tokens", "tokens", "grad_norm", "learning_rate", "skipped"}
    assert set(metrics) == names
    assert int(metrics["tokens"]) == np.sum(batch["segment_ids"] > 0)
    close(frozen, params, atol=0)
    joined = join_params(adapters, frozen)
    adapted = packed_logits(layout.graph, joined, *args)
    merged = packed_logits(abstract(model_config)[0], merge_lora(joined, config.adapters), *args)
    assert np.max(np.abs(adapted - plain)) > 1e-3
    close(merged, adapted, atol=1e-5)


def test_bfloat16_computes_low_and_keeps_float32_parameters(
    model_config, params, make_config, random_batch
):
    config, mesh = make_config(dtype="bfloat16", remat="full"), make_mesh({"fsdp": -1})
    optimizer = make_optimizer(config)
    layout = make_layout(model_config, config, optimizer, mesh)
    assert nnx.merge(layout.graph, params).dtype == np.dtype("bfloat16")
    params = shard_params(params, layout.trainable)
    state = jax.jit(optimizer.init)(params)
    step = make_step(layout, next_token_loss, optimizer, make_schedule(config), 1)
    params, state, metrics = step(params, state, {}, random_batch(2, 24), 0)
    floats = [x for x in jax.tree.leaves((params, state)) if x.ndim]
    assert {leaf.dtype.name for leaf in floats} == {"float32"}
    assert np.isfinite(float(metrics["loss"]))
