"""Properties of the decoder that hold for any weights."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.parity.random_models import CASES, LLAMA3_ROPE, tokens
from vcjax.model.build import abstract, initialise, logical_axes, packed_logits, shapes
from vcjax.model.llama import init_cache, unstack
from vcjax.model.rope import FREQUENCIES, RopeConfig

LENGTH, WINDOW, CHUNK = 40, 12, 16
ROW = tokens(LENGTH)
SHORT_WINDOWS = {"sliding_window": WINDOW}


@pytest.mark.parametrize("case", ["llama32_tied", "llama_biases", "qwen2_window", "qwen3"])
def test_scanned_layers_give_what_unrolled_ones_give(case, random_model):
    model = random_model(case, **(SHORT_WINDOWS if "window" in case else {}))
    unrolled = type(model)(model.config, unstack(model.params))
    expected = unrolled.logits(ROW, stacked=False)
    np.testing.assert_allclose(model.logits(ROW), expected, rtol=0, atol=2e-5)


@partial(jax.jit, static_argnames=("graph",))
def _extend(graph, params, tokens, positions, cache):
    model = nnx.merge(graph, params)
    rows = None if tokens.shape[1] == 1 else jnp.zeros((1,), jnp.int32)
    hidden, cache = model.extend(tokens, positions, cache, rows)
    return model.logits(hidden), cache


@pytest.mark.parametrize("case", ["llama31", "mistral_window", "qwen2_window", "qwen3"])
def test_the_cache_in_chunks_gives_the_full_forward(case, random_model):
    model = random_model(case, **(SHORT_WINDOWS if "window" in case else {}))
    graph, _ = abstract(model.config, stacked=False)
    params, cache = unstack(model.params), init_cache(model.config, 1, 64, jnp.float32)
    parts, start = [], 0
    # Two chunks, the second with padding behind its 9 tokens; then one token at a time.
    for real, width in [(CHUNK, CHUNK), (9, CHUNK)] + [(1, 1)] * (LENGTH - CHUNK - 9):
        chunk = np.zeros((1, width), np.int32)
        chunk[0, :real] = ROW[0, start : start + real]
        positions = np.arange(start, start + width)[None]
        logits, cache = _extend(graph, params, chunk, positions, cache)
        parts.append(np.asarray(logits)[:, :real])
        start += real
    np.testing.assert_allclose(np.concatenate(parts, axis=1), model.logits(ROW), rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"rope_theta": 510_000.0},
        {"rope_scaling": {**LLAMA3_ROPE, "factor": 9.0}},
        {"rope_scaling": {**LLAMA3_ROPE, "low_freq_factor": 1.5}},
        {"rope_scaling": {**LLAMA3_ROPE, "high_freq_factor": 3.0}},
        {"rope_scaling": {**LLAMA3_ROPE, "original_max_position_embeddings": 80}},
        {"rope_scaling": None},
    ],
    ids=lambda change: str(change)[:40],
)
def test_every_number_of_rope_changes_the_logits(change, random_model):
    """Invariant 3: nothing about the rotation is known but from the config."""
    expected = random_model("llama31").logits(ROW)
    assert np.abs(random_model("llama31", **change).logits(ROW) - expected).max() > 1e-3


def test_llama3_frequencies_are_kept_blended_and_divided():
    config = RopeConfig("llama3", 10_000.0, 8.0, 1.0, 4.0, 64)
    plain = FREQUENCIES["default"](config, 16)
    ratio = plain / FREQUENCIES["llama3"](config, 16)
    wavelength = 2 * np.pi / plain
    assert ratio[wavelength < 16] == pytest.approx(1)
    assert ratio[wavelength > 64] == pytest.approx(8)
    between = ratio[(wavelength > 16) & (wavelength < 64)]
    assert between.size
    assert ((between > 1) & (between < 8)).all()


def _packed(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, ...]:
    """One row: two segments, then padding, which is a segment of its own."""
    lengths = (first.size, second.size, LENGTH - first.size - second.size)
    row = np.concatenate([first, second, np.zeros(lengths[2], np.int32)])[None]
    positions = np.concatenate([np.arange(n) for n in lengths])[None]
    segments = np.repeat([1, 2, 0], lengths)[None]
    return row.astype(np.int32), positions.astype(np.int32), segments.astype(np.int32)


@pytest.mark.parametrize("case", ["llama31", "mistral_window"])
def test_packing_isolates(case, random_model):
    """Invariant 4 at the level of the model: logits, and gradients of the second segment's."""
    model = random_model(case, **(SHORT_WINDOWS if "window" in case else {}))
    graph, _ = abstract(model.config)
    first, second = ROW[0, :17], ROW[0, 17:37]

    def score(params, batch):
        logits = packed_logits(graph, params, *batch)[:, 17:37]
        return jnp.sum(jnp.sin(logits)), logits

    grad = jax.jit(jax.value_and_grad(score, has_aux=True))
    (_, logits), gradient = grad(model.params, _packed(first, second))
    (_, perturbed), moved = grad(model.params, _packed((first + 7) % 128, second))
    np.testing.assert_array_equal(logits, perturbed)
    jax.tree.map(np.testing.assert_array_equal, gradient, moved)
    alone = model.logits(second[None])
    np.testing.assert_allclose(logits, alone, rtol=0, atol=2e-5)


def test_later_tokens_change_nothing_before_them(random_model):
    model = random_model("qwen3")
    changed = ROW.copy()
    changed[0, 25:] = (changed[0, 25:] + 1) % 128
    before, after = model.logits(ROW), model.logits(changed)
    np.testing.assert_array_equal(before[:, :25], after[:, :25])
    assert np.abs(before[:, 25:] - after[:, 25:]).min(axis=1).max() > 1e-3


def test_bfloat16_compute_stays_near_float32_and_scores_in_float32(random_model):
    model = random_model("llama31")
    low = model.logits(ROW, dtype=jnp.bfloat16)
    assert low.dtype == np.float32
    assert np.abs(low - model.logits(ROW)).mean() < 0.05


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stacked", [True, False])
def test_logical_axes_name_every_dimension_of_every_parameter(case, stacked, random_model):
    config = random_model(case).config
    leaves = jax.tree_util.tree_leaves_with_path(shapes(config, stacked=stacked))
    axes = jax.tree_util.tree_leaves_with_path(
        logical_axes(config, stacked=stacked), is_leaf=lambda node: isinstance(node, tuple)
    )
    assert [path for path, _ in leaves] == [path for path, _ in axes]
    for (path, leaf), (_, names) in zip(leaves, axes, strict=True):
        assert len(names) == leaf.ndim, path
        assert ("layers" in names) == (stacked and path[0].key == "layers"), path


def test_initial_parameters_depend_on_the_seed_alone(random_model):
    config = random_model("qwen3").config
    one, same, other = (initialise(config, seed) for seed in (1, 1, 2))
    jax.tree.map(np.testing.assert_array_equal, one, same)
    assert not np.array_equal(one["embedding"], other["embedding"])
    assert jax.tree.map(jnp.shape, one) == jax.tree.map(lambda leaf: leaf.shape, shapes(config))
