"""Training adapters: on top of quantised kernels, and with dropout."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from tests.train.gradients import mean_gradients
from vcjax.model.lora import PROJECTIONS, join_params, merge_lora
from vcjax.model.quantised import quantise_base
from vcjax.parallel import make_mesh
from vcjax.train.layout import init_adapters, make_layout, shard_params
from vcjax.train.loop import train
from vcjax.train.losses import next_token_loss
from vcjax.train.optim import make_optimizer, make_schedule
from vcjax.train.step import make_step
from vcjax.weights.load import load_model
from vcjax.weights.mapping import ParamsSource
from vcjax.weights.resolve import resolve
from vcjax.weights.sharded import load_sharded
from vcjax.weights.workdir import read_trained

LORA = {"rank": 2, "alpha": 8.0, "targets": ".*"}
MESH = make_mesh({"fsdp": -1})


@pytest.mark.parametrize("base", ["int8", "nf4"])
def test_adapters_learn_on_top_of_a_quantised_base(
    model_config, params, make_config, random_batch, base
):
    lora = LORA | {"base": base}
    config = make_config(lora=lora, dtype="bfloat16", steps=8, learning_rate=0.05)
    optimizer = make_optimizer(config)
    layout = make_layout(model_config, config, optimizer, MESH)
    louder = {**params, "embedding": 10 * params["embedding"]}  # else all logits are near zero
    frozen = load_sharded(ParamsSource(louder, model_config), model_config, layout.frozen)
    dtypes = {path[-1]: leaf.dtype.name for path, leaf in flatten_dict(frozen).items()}
    codes = {"int8": "int8", "nf4": "uint8"}[base]
    low = dict.fromkeys(("embedding", "weight"), "bfloat16")
    assert dtypes == {"codes": codes, "scales": "float32", **low}

    before = jax.tree.map(np.asarray, frozen)
    adapters = init_adapters(model_config, config, layout.trainable)
    schedule, batch = make_schedule(config), random_batch(4, 24)
    step = make_step(layout, next_token_loss, optimizer, schedule, 1)
    state, losses = jax.jit(optimizer.init)(adapters), []
    for count in range(8):
        adapters, state, metrics = step(adapters, state, frozen, batch, count)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < losses[0] - 1
    jax.tree.map(np.testing.assert_array_equal, frozen, before)


@pytest.fixture(scope="module")
def dropping(model_config, params, make_config):
    """A layout with dropout, its optimiser, and random adapters on a frozen base."""
    config = make_config(lora=LORA | {"dropout": 0.5})
    optimizer = make_optimizer(config)
    layout = make_layout(model_config, config, optimizer, MESH)
    draw = np.random.default_rng(0).normal
    random = jax.tree.map(lambda leaf: draw(0, 0.1, leaf.shape), layout.trainable)
    return (
        layout,
        optimizer,
        (random, load_sharded(ParamsSource(params, model_config), model_config, layout.frozen)),
    )


def test_a_step_drops_by_its_number_and_its_seed(dropping, make_config, random_batch):
    layout, optimizer, (random, frozen) = dropping
    schedule, batch = make_schedule(make_config()), random_batch(2, 24)
    step = make_step(layout, next_token_loss, optimizer, schedule, 1)

    def loss(count: int) -> float:
        adapters = shard_params(random, layout.trainable)
        state = jax.jit(optimizer.init)(adapters)
        return float(step(adapters, state, frozen, batch, count)[2]["loss"])

    assert loss(0) == loss(0)
    assert len({loss(count) for count in range(3)}) == 3


def test_the_seed_of_dropout_is_that_of_the_run(model_config, make_config):
    def seed(**changes: object) -> int | None:
        config = make_config(**changes)
        return make_layout(model_config, config, make_optimizer(config), MESH).drop_seed

    dropout = LORA | {"dropout": 0.1}
    assert seed(seed=1, lora=dropout) == seed(seed=1, lora=dropout) != seed(seed=2, lora=dropout)
    assert seed(lora=LORA) is seed() is None


def test_each_microbatch_drops_by_a_key_of_its_own(dropping, random_batch):
    layout, _, parts = dropping
    batch, key = random_batch(4, 24), jax.random.key(9)
    whole, half = (jax.jit(mean_gradients(layout, next_token_loss, count)) for count in (2, 1))
    means, count, grads = whole(*parts, batch, key)
    total, tokens, summed = 0.0, 0, jax.tree.map(np.zeros_like, grads)
    for number, own in enumerate(jax.random.split(key, 2)):
        rows = {name: array[number::2] for name, array in batch.items()}
        found, of, grad = half(*parts, rows, own)
        total, tokens = total + float(found["loss"]) * int(of), tokens + int(of)
        summed = jax.tree.map(lambda a, b, n=int(of): a + b * n, summed, grad)
    assert int(count) == tokens
    np.testing.assert_allclose(means["loss"], total / tokens, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b / tokens, atol=1e-6), grads, summed)


def test_a_run_on_a_quantised_base_loads_as_the_model_that_it_trained(
    tmp_path, model_folder, make_config
):
    config = make_config(steps=2, lora=LORA | {"base": "nf4"})
    train(config, tmp_path / "run")
    trained = read_trained(resolve(str(tmp_path / "run"))).params
    base = load_model(str(model_folder)).params
    expected = merge_lora(join_params(trained, quantise_base(base, "nf4")), config.adapters)
    merged = load_model(str(tmp_path / "run")).params
    jax.tree.map(np.testing.assert_array_equal, merged, expected)
    plain = merge_lora(join_params(trained, base), config.adapters)
    for name in PROJECTIONS:
        both = (tree["layers"][name]["kernel"] for tree in (merged, plain))
        assert np.abs(np.subtract(*both)).max() > 1e-3, name
