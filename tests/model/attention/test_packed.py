"""Every attention backend equals the reference, forward and backward."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.compilation import with_devices
from vcjax.core.errors import UserError
from vcjax.model.attention.packed import _fused, attend_packed, choose_backend
from vcjax.model.attention.splash import splash_attention
from vcjax.model.build import abstract
from vcjax.model.config import LlamaConfig
from vcjax.model.rope import RopeConfig
from vcjax.parallel import AnyMesh, abstract_mesh

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
    splash = partial(splash_attention, mesh=None, interpret=True)
    agree(results(splash, length, window), results(reference, length, window))


def test_splash_on_a_mesh_agrees_with_the_reference():
    """Rows, heads and places over eight devices; key heads where the mesh divides them."""
    flags = {"XLA_FLAGS": with_devices(8), "JAX_PLATFORMS": "cpu"}
    out = subprocess.run(
        [sys.executable, "-m", "tests.model.attention.splash_on_meshes"],
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
        results(partial(splash_attention, mesh=None, interpret=True), 256, jnp.int32(70))


SHAPE = LlamaConfig(
    architecture="LlamaForCausalLM",
    vocab_size=64,
    hidden_size=32,
    intermediate_size=64,
    num_layers=2,
    num_heads=8,
    num_kv_heads=2,
    head_dim=64,
    max_position=512,
    rms_norm_eps=1e-5,
    rope=RopeConfig(),
    eos_ids=(0,),
)
DEVICES = {
    "cpu": ("cpu", "cpu"),
    "tpu": ("tpu", "TPU v5e"),
    "nvidia": ("gpu", "NVIDIA H100 80GB HBM3"),
    "amd": ("gpu", "AMD Instinct MI300X"),
}
MESHES = {
    "one": {},
    "fsdp": {"fsdp": 8},
    "tensor that divides": {"fsdp": 4, "tensor": 2},
    "tensor that doesn't": {"fsdp": 2, "tensor": 4},
    "sequence": {"fsdp": 4, "sequence": 2},
}


def site(device: str, mesh: str) -> AnyMesh:
    platform, kind = DEVICES[device]
    count = int(np.prod(list(MESHES[mesh].values())))
    return abstract_mesh(MESHES[mesh], count, kind, platform)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("length", [None, 512, 511])
@pytest.mark.parametrize(
    "changes", [{}, {"head_dim": 60}, {"windows": (0, 70)}, {"windows": (70, 70)}], ids=str
)
def test_auto_takes_what_runs(device, mesh, dtype, length, changes):
    """Everywhere, what `auto` takes may be named; and it takes a kernel wherever one runs."""
    model, devices = replace(SHAPE, **changes), site(device, mesh)
    taken = choose_backend("auto", model, dtype, devices, length)
    assert choose_backend(taken, model, dtype, devices, length) == taken
    if device == "tpu":
        assert taken == ("blocks" if changes == {"windows": (0, 70)} else "splash")
    elif device == "nvidia":
        runs = dtype == "bfloat16" and mesh in ("one", "fsdp", "tensor that divides")
        runs = runs and length != 511 and "head_dim" not in changes
        assert taken == ("cudnn" if runs else "blocks")
    else:
        assert taken == "blocks"


@pytest.mark.parametrize(
    ("name", "device", "mesh", "changes", "dtype", "length", "message"),
    [
        ("cudnn", "cpu", "one", {}, "bfloat16", 512, "an NVIDIA GPU, of Ampere"),
        ("cudnn", "amd", "one", {}, "bfloat16", 512, "an NVIDIA GPU, of Ampere"),
        ("cudnn", "nvidia", "one", {}, "float32", 512, "dtype bfloat16, not float32"),
        ("cudnn", "nvidia", "one", {}, "bfloat16", 511, "an even length, not 511"),
        ("cudnn", "nvidia", "one", {"head_dim": 60}, "bfloat16", 512, "at most 128, not 60"),
        ("cudnn", "nvidia", "one", {"head_dim": 256}, "bfloat16", 512, "at most 128, not 256"),
        ("cudnn", "nvidia", "sequence", {}, "bfloat16", 512, "whole rows, and mesh.sequence"),
        ("cudnn", "nvidia", "tensor that doesn't", {}, "bfloat16", 512, "2 key/value heads, not 4"),
        ("splash", "cpu", "one", {}, "bfloat16", 512, "a TPU"),
        ("splash", "tpu", "one", {"windows": (0, 70)}, "bfloat16", 512, "the same window in every"),
    ],
)
def test_a_backend_that_is_named_and_cant_run_is_one_line(
    name, device, mesh, changes, dtype, length, message
):
    where = replace(SHAPE, **changes), dtype, site(device, mesh), length
    with pytest.raises(
        UserError, match=rf"config\.attention: '{name}' needs .*{message}"
    ) as caught:
        choose_backend(name, *where)
    assert "\n" not in str(caught.value)
    assert choose_backend("auto", *where) != name


def test_a_model_of_auto_takes_rows_of_any_length(monkeypatch):
    """`model.logits` of an odd length, on a GPU where an even one would go to cuDNN."""
    chosen = []

    def record(query, key, value, segment_ids, window, backend, mesh):
        chosen.append(backend)
        return query

    monkeypatch.setattr("vcjax.model.llama.attend_packed", record)
    graph, state = abstract(SHAPE, dtype=jnp.bfloat16, mesh=site("nvidia", "one"))
    for length in (6, 7):
        rows = jax.ShapeDtypeStruct((1, length), jnp.int32)
        params = nnx.to_pure_dict(state)
        jax.eval_shape(lambda p, rows: nnx.merge(graph, p)(rows, rows, rows), params, rows)
    assert chosen == ["cudnn", "blocks"]
