"""Schedules, and each optimiser against its paper's arithmetic in NumPy or on single matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.train.gradients import mean_gradients
from vcjax.model.build import shapes
from vcjax.model.config import LlamaConfig
from vcjax.parallel import make_mesh
from vcjax.train.config import OPTIMIZERS, SCHEDULES
from vcjax.train.layout import make_layout, shard_params
from vcjax.train.losses import next_token_loss
from vcjax.train.optim import MUON_RMS, make_optimizer, make_schedule

SHAPES = {
    "embedding": (6, 4),
    "norm.weight": (4,),
    "layers.mlp_norm.weight": (2, 4),
    "layers.q.kernel": (2, 4, 3, 2),
    "layers.o.kernel": (2, 3, 2, 4),
    "layers.up.kernel": (2, 4, 8),
}
NO_DECAY = ("norm.weight", "layers.mlp_norm.weight")


def random_tree(seed, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    flat = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return unflatten_dict(flat, sep=".")


def flat(tree):
    return flatten_dict(tree, sep=".")


def updated(config, params, *gradients):
    """The parameters after an update for each gradient, all at the config's learning rate."""
    optimizer = make_optimizer(config)

    @jax.jit
    def update(state, params, gradient):
        rate = config.learning_rate
        return optimizer.update(gradient, optimizer.norm(gradient), state, params, rate)

    state = optimizer.init(params)
    for gradient in gradients:
        params, state = update(state, params, gradient)
    return flat(params)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(SCHEDULES),
    steps=st.integers(1, 64),
    ratio=st.floats(0, 1),
    parts=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_rate_grows_to_its_peak_and_falls_to_its_last_value(
    make_config, name, steps, ratio, parts
):
    warmup, decay = int(parts[0] * steps), 0
    if name == "wsd":
        warmup = min(warmup, steps - 1)
        decay = max(1, int(parts[1] * (steps - warmup)))
    config = make_config(
        steps=steps,
        warmup_steps=warmup,
        schedule=name,
        decay_steps=decay,
        learning_rate=0.5,
        final_learning_rate_ratio=ratio,
    )
    rates = np.asarray(make_schedule(config)(jnp.arange(64)))[:steps]
    peak, last = np.float32(0.5), np.float32(0.5 * ratio)
    ulp = np.spacing(peak)  # the rates' own rounding
    line = peak * np.arange(1, warmup + 1) / max(warmup, 1)
    np.testing.assert_allclose(rates[:warmup], line, rtol=0, atol=2 * ulp)
    assert rates[0] > 0 or (last == 0 and steps == 1)
    assert np.all(np.diff(rates[:warmup]) > 0)
    assert np.all(np.diff(rates[warmup:]) <= ulp)
    assert np.all(rates <= peak + ulp)
    stays = name == "constant" or warmup == steps
    np.testing.assert_allclose(rates[-1], peak if stays else last, rtol=0, atol=ulp)


def test_rates_between_have_the_shape_that_their_name_says(make_config):
    def rates(name, decay=0):
        config = make_config(
            steps=10,
            warmup_steps=2,
            schedule=name,
            decay_steps=decay,
            learning_rate=1.0,
            final_learning_rate_ratio=0.2,
        )
        return [float(make_schedule(config)(count)) for count in range(10)]

    falling = np.arange(1, 9) / 8
    np.testing.assert_allclose(rates("linear"), [0.5, 1, *(1 - 0.8 * falling)], rtol=1e-6)
    cosine = 0.2 + 0.8 * (1 + np.cos(np.pi * falling)) / 2
    np.testing.assert_allclose(rates("cosine"), [0.5, 1, *cosine], rtol=1e-6)
    np.testing.assert_allclose(
        rates("wsd", decay=4), [0.5, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2], rtol=1e-6
    )
    np.testing.assert_allclose(rates("constant"), [0.5, *[1] * 9], rtol=1e-6)


def adamw_by_hand(params, gradients, rate, b1, b2, decay):
    """Loshchilov and Hutter, arXiv 1711.05101, algorithm 2, with the decay times the rate."""
    first, second = np.zeros_like(params), np.zeros_like(params)
    for step, gradient in enumerate(gradients, 1):
        first = b1 * first + (1 - b1) * gradient
        second = b2 * second + (1 - b2) * gradient**2
        direction = first / (1 - b1**step) / (np.sqrt(second / (1 - b2**step)) + 1e-8)
        params = params - rate * (direction + decay * params)
    return params


def lion_by_hand(params, gradients, rate, b1, b2, decay):
    """Chen et al., arXiv 2302.06675, algorithm 2."""
    momentum = np.zeros_like(params)
    for gradient in gradients:
        direction = np.sign(b1 * momentum + (1 - b1) * gradient)
        momentum = b2 * momentum + (1 - b2) * gradient
        params = params - rate * (direction + decay * params)
    return params


@pytest.mark.parametrize(
    ("name", "by_hand"), [("adamw", adamw_by_hand), ("lion", lion_by_hand)], ids=["adamw", "lion"]
)
def test_two_updates_equal_those_by_hand(make_config, name, by_hand):
    config = make_config(
        optimizer=name, learning_rate=0.1, weight_decay=0.5, b1=0.8, b2=0.9, clip_norm=2.0
    )
    params, gradients = random_tree(0), [random_tree(1), random_tree(2)]
    clipped = []
    for gradient in map(flat, gradients):
        norm = np.sqrt(sum(np.sum(np.float64(leaf) ** 2) for leaf in gradient.values()))
        assert norm > 2.0
        clipped.append({path: np.float64(leaf) * 2.0 / norm for path, leaf in gradient.items()})
    after = updated(config, params, *gradients)
    for path, leaf in flat(params).items():
        decay = 0.0 if path in NO_DECAY else 0.5
        steps = [gradient[path] for gradient in clipped]
        wanted = by_hand(np.float64(leaf), steps, 0.1, 0.8, 0.9, decay)
        np.testing.assert_allclose(after[path], wanted, atol=1e-6, err_msg=path)


def test_a_gradient_within_the_bound_is_not_clipped(make_config):
    # The sign that Lion takes tells a clipped gradient from a whole one when they are mixed.
    params, large, small = random_tree(0), random_tree(1), random_tree(2)
    small = jax.tree.map(lambda leaf: 0.05 * leaf, small)
    norms = [float(optax.tree.norm(tree)) for tree in (small, large)]

    def after(clip):
        return updated(make_config(optimizer="lion", b1=0.5, clip_norm=clip), params, large, small)

    loose, bound, tight = after(100 * norms[1]), after(norms[1] * 1.001), after(norms[0])
    for path, leaf in loose.items():
        np.testing.assert_array_equal(leaf, bound[path])
    assert any(np.any(leaf != tight[path]) for path, leaf in loose.items())


def test_without_a_gradient_matrices_shrink_and_nothing_else_moves(make_config):
    lora = {"layers.q.lora_a": (2, 4, 2), "layers.q.lora_b": (2, 2, 6)}
    params = random_tree(0, SHAPES | lora)
    nothing = jax.tree.map(np.zeros_like, params)
    for name in ("adamw", "adafactor", "lion"):
        config = make_config(optimizer=name, learning_rate=0.1, weight_decay=0.5)
        for path, leaf in updated(config, params, nothing).items():
            kept = 1.0 if path in NO_DECAY or "lora" in path else 0.95
            np.testing.assert_allclose(leaf, kept * flat(params)[path], rtol=1e-6, err_msg=path)


def test_muon_makes_each_layers_matrix_orthogonal(make_config):
    config = make_config(
        optimizer="muon", learning_rate=1.0, weight_decay=0.0, b1=0.9, b2=0.99, clip_norm=1e6
    )
    params, gradient = random_tree(0), random_tree(1)
    after = updated(config, params, gradient)
    change = {path: np.asarray(after[path] - leaf) for path, leaf in flat(params).items()}
    inputs = {"layers.q.kernel": 4, "layers.o.kernel": 6, "layers.up.kernel": 4}
    for path, rows in inputs.items():
        matrices = change[path].reshape(2, rows, -1)
        scale = MUON_RMS * np.sqrt(max(matrices.shape[1:]))
        for matrix, slope in zip(matrices, flat(gradient)[path], strict=True):
            left, values, right = np.linalg.svd(slope.reshape(rows, -1), full_matrices=False)
            # Five steps take relative singular values from 0.05 on to about 1.
            assert values[-1] > 0.05 * np.linalg.norm(values)
            turned = left.T @ (-matrix / scale) @ right.T
            assert np.all(np.abs(np.diag(turned) - 1) < 0.4), np.diag(turned)
            assert np.max(np.abs(turned - np.diag(np.diag(turned)))) < 1e-4
    for path in change.keys() - inputs.keys():  # AdamW's first update is the gradient's sign
        np.testing.assert_allclose(change[path], -np.sign(flat(gradient)[path]), atol=1e-4)


def test_adafactor_takes_the_matrix_of_each_layer(make_config):
    """As Optax's does for a single matrix, which it would not see among layers and heads."""
    sizes = {
        "layers.q.kernel": ((2, 130, 4, 40), (130, 160)),
        "layers.o.kernel": ((2, 4, 40, 130), (160, 130)),
        "layers.mlp_norm.weight": ((2, 130), (130,)),
        "embedding": ((150, 130), (150, 130)),
    }
    params, first, second = (
        random_tree(seed, {path: shape for path, (shape, _) in sizes.items()}) for seed in range(3)
    )
    config = make_config(optimizer="adafactor", learning_rate=0.1, weight_decay=0.0, clip_norm=1e6)
    after = updated(config, params, first, second)
    alone = optax.adafactor(0.1, multiply_by_parameter_scale=False)

    @jax.jit
    def two(leaf, *gradients):
        state = alone.init(leaf)
        for gradient in gradients:
            change, state = alone.update(gradient, state, leaf)
            leaf = optax.apply_updates(leaf, change)
        return leaf

    for path, (_, shape) in sizes.items():
        trees = (params, first, second)
        parts = [flat(tree)[path].reshape(-1, *shape) for tree in trees]
        for layer, wanted in enumerate(map(two, *parts)):
            got = after[path].reshape(-1, *shape)[layer]
            np.testing.assert_allclose(got, wanted, atol=1e-5, err_msg=path)


def test_adafactor_holds_rows_and_columns_of_each_matrix(make_config):
    model = LlamaConfig.from_hf(
        {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": 49152,
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": True,
        }
    )
    optimizer = make_optimizer(make_config(optimizer="adafactor"))
    state = jax.eval_shape(optimizer.init, shapes(model))
    kernels = 2 * (576 + 576) + 2 * (576 + 192) + 3 * (576 + 1536)
    norms = 30 * 2 * 576 + 576
    expected = 30 * kernels + (49152 + 576) + norms
    held = sum(leaf.size for leaf in jax.tree.leaves(state) if leaf.dtype == jnp.float32)
    placeholders = 2 * (2 * 30 + 1) + (7 * 30 + 1)  # of one number, for what is factored or isn't
    assert held == expected + placeholders


@pytest.fixture(scope="module")
def slopes(model_config, make_config):
    """The layout and compiled gradients of the tiny model in bfloat16, for all optimisers."""
    config, mesh = make_config(dtype="bfloat16"), make_mesh({"fsdp": -1})
    layout = make_layout(model_config, config, make_optimizer(config), mesh)
    return layout, jax.jit(mean_gradients(layout, next_token_loss, 1))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimiser_lowers_the_loss_with_float32_moments(
    slopes, params, make_config, random_batch, name
):
    layout, gradients = slopes
    optimizer = make_optimizer(make_config(optimizer=name, weight_decay=0.0))
    update, rate = jax.jit(optimizer.update), 3e-3 if name == "lion" else 1e-2
    trainable, batch, losses = shard_params(params, layout.trainable), random_batch(2, 24), []
    state = jax.jit(optimizer.init)(trainable)
    for _ in range(8):
        means, _, slope = gradients(trainable, {}, batch)
        trainable, state = update(slope, optimizer.norm(slope), state, trainable, rate)
        losses.append(float(means["loss"]))
    assert losses[-1] < losses[0] - 0.2
    floats = [leaf for leaf in jax.tree.leaves((trainable, state)) if leaf.dtype != jnp.int32]
    assert {leaf.dtype.name for leaf in floats} == {"float32"}
