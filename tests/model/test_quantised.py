"""Quantised kernels: their error, their size, and a model that uses them."""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from tests.parity.random_models import CASES, tokens
from vcjax.core.errors import UserError
from vcjax.model.build import abstract, shapes
from vcjax.model.config import LlamaConfig
from vcjax.model.lora import LoraConfig, join_params, merge_lora, split_adapters
from vcjax.model.quantised import (
    BLOCK,
    FORMS,
    NF4,
    QuantisedKernel,
    dequantise,
    quantise,
    quantise_base,
)

ROW = tokens(40)
SHAPES = [((96, 3, 4), 1), ((4, 24, 10), 2), ((64, 5), 1)]
"""Kernels and their axes of inputs; 96 inputs are a block and a half."""


def _kernel(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@partial(jax.jit, static_argnums=(1, 2))
def _requantised(kernel: jax.Array, form: str, inputs: int) -> jax.Array:
    return dequantise(**quantise(kernel, form, inputs))


def _whole(kernel: np.ndarray, form: str, inputs: int) -> np.ndarray:
    return np.asarray(_requantised(kernel, form, inputs))


def test_nf4_holds_the_quantiles_of_a_normal_distribution():
    """Appendix E of arXiv 2305.14314, as bitsandbytes computes it: 8 above zero, 7 below."""
    offset = 0.9677083  # half of the sum of 1 - 1/30 and 1 - 1/32, rounded
    above = norm.ppf(np.linspace(offset, 0.5, 9)[:-1])
    below = -norm.ppf(np.linspace(offset, 0.5, 8)[:-1])
    values = np.sort([*above, 0.0, *below])
    np.testing.assert_allclose(NF4, values / values.max(), rtol=0, atol=2e-7)


@pytest.mark.parametrize(("shape", "inputs"), SHAPES)
def test_int8_is_off_by_half_a_step_at_most(shape, inputs):
    kernel = _kernel(shape)
    step = np.abs(kernel).max(axis=tuple(range(inputs)), keepdims=True) / 127
    assert np.all(np.abs(_whole(kernel, "int8", inputs) - kernel) <= step * (0.5 + 1e-4))


@pytest.mark.parametrize(("shape", "inputs"), SHAPES)
def test_nf4_takes_the_nearest_value_in_its_block(shape, inputs):
    kernel = _kernel(shape)
    outputs = math.prod(shape[inputs:])
    flat, whole = (each.reshape(-1, outputs) for each in (kernel, _whole(kernel, "nf4", inputs)))
    for start in range(0, len(flat), BLOCK):
        block = flat[start : start + BLOCK]
        values = NF4[:, None, None] * np.abs(block).max(axis=0)
        nearest = np.abs(values - block).min(axis=0)
        found = np.abs(whole[start : start + BLOCK] - block)
        np.testing.assert_allclose(found, nearest, rtol=0, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 15), min_size=BLOCK - 1, max_size=BLOCK - 1),
    st.floats(2**-40, 2**40, width=32),
)
def test_values_of_nf4_are_kept_exactly(codes, scale):
    block = (NF4[[*codes, 15]] * np.float32(scale))[:, None]
    np.testing.assert_array_equal(_whole(block, "nf4", 1), block)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-127, 127), min_size=9, max_size=9), st.integers(-40, 40))
def test_values_of_int8_are_kept_exactly(codes, exponent):
    kernel = np.array([*codes, 127], np.float32)[:, None] * np.float32(2.0**exponent)
    np.testing.assert_array_equal(_whole(kernel, "int8", 1), kernel)


@pytest.mark.parametrize("form", FORMS)
def test_a_block_of_zeros_stays_one(form):
    kernel = np.concatenate([np.zeros((BLOCK, 2), np.float32), _kernel((BLOCK, 2))])
    kernel[:, 1] = 0
    whole = _whole(kernel, form, 1)
    np.testing.assert_array_equal(whole[kernel == 0], 0)
    assert np.any(whole[:, 0])


@pytest.mark.parametrize(("form", "least"), [("int8", 3.9), ("nf4", 7.0)])
def test_a_quantised_base_is_as_small_as_it_says(form, least):
    config = LlamaConfig.from_hf(
        {**CASES["llama31"], "hidden_size": 512, "intermediate_size": 1024}
    )
    lora = LoraConfig(rank=2, base=form)
    bytes_of = {
        name: sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
        for name, tree in (
            ("plain", _kernels(shapes(config))),
            ("quantised", _kernels(shapes(config, lora=lora))),
            ("held", _kernels(quantise_base(_zeros(config), form))),
        )
    }
    assert bytes_of["plain"] / bytes_of["quantised"] > least
    assert bytes_of["held"] == bytes_of["quantised"]


def _zeros(config: LlamaConfig) -> dict:
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes(config))


def _kernels(params: dict) -> list:
    return [child["kernel"] for child in params["layers"].values() if "kernel" in child]


@pytest.fixture(scope="module")
def adapted(random_model):
    """A function from a form to a model with that base and random adapters."""

    def make(form: str):
        model, lora = random_model("llama_biases"), LoraConfig(rank=4, base=form)
        adapters, _ = split_adapters(shapes(model.config, lora=lora))
        noise = np.random.default_rng(5).standard_normal
        adapters = jax.tree.map(lambda leaf: 0.1 * noise(leaf.shape, np.float32), adapters)
        return type(model)(
            model.config, join_params(adapters, quantise_base(model.params, form))
        ), lora

    return make


# These weights are uniform, with sharp attention: hard for NF4. Unrelated logits would be 1.4 off.
@pytest.mark.parametrize(("form", "share"), [("int8", 0.05), ("nf4", 0.6)])
def test_logits_are_near_those_of_the_plain_base(adapted, form, share):
    (plain, lora), (quantised, lora_of_form) = adapted(""), adapted(form)
    expected, found = plain.logits(ROW, lora=lora), quantised.logits(ROW, lora=lora_of_form)
    error = np.sqrt(np.mean((found - expected) ** 2)) / expected.std()
    assert 0 < error < share


@pytest.mark.parametrize("form", FORMS)
def test_merging_adds_adapters_to_what_the_codes_stand_for(adapted, form):
    model, lora = adapted(form)
    merge = jax.jit(merge_lora, static_argnums=1)
    merged = type(model)(model.config, merge(model.params, lora))
    assert jax.tree.map(np.shape, merged.params) == jax.tree.map(np.shape, shapes(model.config))
    expected = model.logits(ROW, lora=lora)
    np.testing.assert_allclose(merged.logits(ROW), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_flow_through_a_frozen_kernel(form):
    """As through the whole kernel that the codes stand for."""

    def make(init: Callable, shape: tuple, axes: tuple, kind: type, dtype: type) -> nnx.Variable:
        return kind(init(jax.random.key(0), shape, dtype), axes=axes)

    kernel = QuantisedKernel(make, form, {"heads": 4, "head_dim": 24}, {"embed": 10})
    rows = _kernel((7, 96))
    for name, leaf in quantise(jnp.asarray(_kernel((4, 24, 10))), form, 2).items():
        assert (leaf.shape, leaf.dtype) == (
            getattr(kernel, name).shape,
            getattr(kernel, name).dtype,
        )
        getattr(kernel, name)[...] = leaf
    whole = dequantise(kernel.codes[...], kernel.scales[...]).reshape(96, 10)
    found, expected = (
        jax.value_and_grad(lambda rows, product=product: jnp.sum(jnp.sin(product(rows))))(rows)
        for product in (kernel, lambda rows: rows @ whole)
    )
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("remat", ["none", "dots"])
def test_no_whole_kernel_is_kept_for_the_backward_pass(adapted, remat):
    """Else all layers' kernels would be held in the compute dtype, and nothing would be saved."""
    model, lora = adapted("nf4")
    graph, _ = abstract(model.config, lora=lora, remat=remat)
    adapters, frozen = split_adapters(model.params)
    places = np.arange(ROW.shape[1], dtype=np.int32)[None]

    def summed(adapters: dict) -> jax.Array:
        whole = nnx.merge(graph, join_params(adapters, frozen))
        return jnp.sum(whole(ROW, places, np.ones_like(ROW)))

    text = str(jax.make_jaxpr(jax.grad(summed))(adapters))
    layers, hidden, middle = 3, model.config.hidden_size, model.config.intermediate_size
    assert f"u8[{layers},{hidden // 2},{middle}]" in text
    assert f"f32[{layers},{hidden},{middle}]" not in text


def test_an_odd_number_of_inputs_is_a_mistake_of_one_line():
    config = LlamaConfig.from_hf({**CASES["llama31"], "intermediate_size": 95})
    with pytest.raises(UserError, match="'nf4' stores pairs of inputs; a projection has"):
        shapes(config, lora=LoraConfig(base="nf4"))
