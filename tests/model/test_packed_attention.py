"""Every backend of attention gives what the reference gives, forward and backward."""

import json
import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vcjax.foundation.errors import UserError
from vcjax.model.packed import _fused, attend_packed, choose_backend
from vcjax.model.splash import splash_attention

HEADS, KV_HEADS, HEAD_DIM = 4, 2, 16


def rows(length: int, heads: int = HEADS, kv_heads: int = KV_HEADS):
    """Queries, keys, values and a weight of each output; rows of three segments and padding."""
    rng = np.random.default_rng(length)

    def normal(count: int) -> jax.Array:
        return jnp.asarray(rng.normal(size=(2, length, count, HEAD_DIM)), jnp.float32)

    bounds = np.asarray([[0.2, 0.5, 0.9], [0.4, 0.45, 1.0]]) * length
    places = np.arange(length)[None, :, None]
    segments = (places >= bounds[:, None]).sum(-1) + 1
    segments = jnp.asarray(np.where(segments == 4, 0, segments), jnp.int32)
    return (normal(heads), normal(kv_heads), normal(kv_heads)), segments, normal(heads)


def results(attention, length: int, window: int | None, **shape: int):
    """What the queries see, and the gradient of a weighted sum of it in all three inputs."""
    inputs, segments, weight = rows(length, **shape)

    @jax.jit
    def run(inputs):
        def loss(inputs):
            out = attention(*inputs, segments, window)
            return jnp.sum(out * weight), out

        grads, out = jax.grad(loss, has_aux=True)(inputs)
        return (out, *grads)

    return run(inputs)


def agree(found, wanted) -> None:
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


reference = partial(attend_packed, backend="reference")


@pytest.mark.parametrize(("length", "window"), [(300, None), (257, 70), (128, 1), (5, 3)])
def test_blocks_agree_with_the_reference(length, window):
    blocks = results(partial(attend_packed, backend="blocks"), length, window)
    agree(blocks, results(reference, length, window))


@pytest.mark.parametrize(("length", "window"), [(600, None), (256, 70)])
def test_splash_agrees_with_the_reference(length, window):
    """In interpret mode; rows of 600 are padded, to five blocks. `make tpu` compiles for TPUs."""
    splash = partial(splash_attention, on=None, interpret=True)
    agree(results(splash, length, window), results(reference, length, window))


def test_splash_on_a_mesh_agrees_with_the_reference():
    """Rows, heads and places over eight devices; key heads where the mesh divides them."""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    out = subprocess.run(
        [sys.executable, "-m", "tests.model.splash_on_meshes"],
        env=os.environ | flags,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    one, other = json.loads(out.splitlines()[-1])
    assert one["axes"] == ["data", "sequence", "tensor", None]
    assert other["axes"] == ["fsdp", None, "tensor", None]
    assert max(one["difference"], other["difference"]) < 2e-5


@pytest.mark.parametrize("window", [None, 70])
def test_the_mask_for_cudnn_agrees_with_the_reference(window):
    """cuDNN needs a GPU; XLA's implementation takes the same arguments."""
    fused = partial(_fused, implementation="xla")
    agree(results(fused, 300, window), results(reference, 300, window))


def test_a_window_may_be_computed():
    """Layers with windows of their own are scanned over, so that the window is an array."""
    found = results(partial(attend_packed, backend="blocks"), 256, jnp.int32(70))
    agree(found, results(reference, 256, 70))


def test_splash_needs_one_window():
    with pytest.raises(UserError, match="same window in every layer"):
        results(partial(splash_attention, on=None, interpret=True), 256, jnp.int32(70))
    with pytest.raises(UserError, match="same window in every layer"):
        choose_backend("splash", "bfloat16", "tpu", (0, 70))
    assert choose_backend("auto", "bfloat16", "tpu", (0, 70)) == "blocks"
    assert choose_backend("auto", "bfloat16", "tpu", (70, 70)) == "splash"


def test_cudnn_needs_an_even_length():
    with pytest.raises(UserError, match="even"):
        results(partial(_fused, implementation="xla"), 257, None)


@pytest.mark.parametrize(
    ("platform", "dtype", "backend"),
    [
        ("cpu", "float32", "blocks"),
        ("gpu", "float32", "blocks"),
        ("gpu", "bfloat16", "cudnn"),
        ("tpu", "bfloat16", "splash"),
    ],
)
def test_auto_takes_what_suits_the_platform(platform, dtype, backend):
    assert choose_backend("auto", dtype, platform, ()) == backend


@pytest.mark.parametrize(("name", "dtype"), [("splash", "bfloat16"), ("cudnn", "bfloat16")])
def test_a_backend_of_another_platform_is_refused(name, dtype):
    with pytest.raises(UserError, match=rf"config\.attention: '{name}' needs"):
        choose_backend(name, dtype, "cpu", ())
