"""Dropout of adapters: which inputs are dropped, and on what that depends."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.parity.random_models import tokens
from vcjax.model import layers
from vcjax.model.build import Params, abstract, shapes
from vcjax.model.lora import PROJECTIONS, LoraConfig, drop, join_params, split_adapters

ROWS = np.concatenate([tokens(16)] * 2)
LORA = LoraConfig(rank=4, targets="q|down", dropout=0.5)


@pytest.fixture(scope="module")
def model(random_model):
    return random_model("llama31")


@pytest.fixture(scope="module")
def params(model) -> Params:
    """With random adapters."""
    draw = np.random.default_rng(5).standard_normal
    adapters, _ = split_adapters(shapes(model.config, lora=LORA))
    adapters = jax.tree.map(lambda leaf: 0.1 * draw(leaf.shape, np.float32), adapters)
    return join_params(adapters, model.params)


def hidden(graph, params: Params, key: jax.Array | None) -> jax.Array:
    """Hidden states of two equal rows, as a training step would have them computed."""
    whole = nnx.merge(graph, params)
    whole.drop_key = key
    places = jnp.broadcast_to(jnp.arange(ROWS.shape[1]), ROWS.shape)
    return whole(ROWS, places, np.ones_like(ROWS))


@pytest.fixture(scope="module")
def compiled(model, params):
    """`hidden` of adapters with dropout, as a function of the key."""
    graph, _ = abstract(model.config, lora=LORA)
    return jax.jit(partial(hidden, graph, params))


def test_a_share_is_zeroed_and_the_mean_kept():
    rows = np.ones((400, 500), np.float32)
    dropped = np.asarray(drop(rows, "q", 0.2, jax.random.key(1)))
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1.25)}
    assert abs(dropped.mean() - 1) < 4 * 0.5 / rows.size**0.5  # four standard errors


def test_equal_keys_drop_the_same_and_others_do_not(compiled):
    one, again, other = (np.asarray(compiled(jax.random.key(n))) for n in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.1
    assert np.abs(one[0] - one[1]).max() > 0.1  # the two rows are equal, what they lose isn't


def test_without_a_key_nothing_is_dropped(model, params, compiled):
    graph, _ = abstract(model.config, lora=LoraConfig(rank=4, targets="q|down"))
    expected = jax.jit(partial(hidden, graph, params))(None)
    np.testing.assert_array_equal(compiled(None), expected)


def test_every_layer_and_projection_draws_its_own(model, monkeypatch):
    drawn = []

    def recorded(rows, projection, rate, key):
        drawn.append((projection, drop(jnp.ones((4, 64)), projection, rate, key)))
        return drop(rows, projection, rate, key)

    monkeypatch.setattr(layers, "drop", recorded)
    options = {"lora": LoraConfig(rank=1, dropout=0.5), "stacked": False}
    graph, _ = abstract(model.config, **options)

    @jax.jit
    def kept(key: jax.Array) -> list[jax.Array]:
        tree = shapes(model.config, **options)
        hidden(graph, jax.tree.map(lambda leaf: jnp.ones(leaf.shape), tree), key)
        return [kept for _, kept in drawn]

    masks = {np.asarray(mask).tobytes() for mask in kept(jax.random.key(3))}
    assert [name for name, _ in drawn] == [*PROJECTIONS] * model.config.num_layers
    assert len(masks) == len(drawn)


def test_a_rate_of_zero_leaves_no_trace_in_the_program(model, params):
    graph, _ = abstract(model.config, lora=LoraConfig(rank=4, targets="q|down"))
    program = partial(jax.make_jaxpr(hidden, static_argnums=0), graph, params)
    with_key, without = str(program(jax.random.key(1)).jaxpr.eqns), str(program(None).jaxpr.eqns)
    assert "random" not in with_key
    assert with_key == without
