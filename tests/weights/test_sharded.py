"""A model is read onto a mesh shard by shard, by the sharding of the devices."""

import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tests.weights.load_an_eighth import load_a_part
from tests.weights.random_checkpoint import write_random
from vcjax.model.build import shapes
from vcjax.model.lora import LoraConfig, split_adapters
from vcjax.model.quantised import quantise_base
from vcjax.weights import safetensors_file
from vcjax.weights.load import open_model
from vcjax.weights.mapping import Bounds, import_params, tensor_locations
from vcjax.weights.sharded import load_sharded

PROC = Path("/proc/self/status")


def layout_of(tree, dtype=None):
    mesh = Mesh(np.array(jax.devices()[:1]), ("all",))
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype or leaf.dtype, sharding=everywhere),
        tree,
    )


def assert_equal(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("case", ["llama31", "llama_biases", "qwen3", "llama32_tied"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_loaded_is_the_model_in_the_dtype_of_the_layout(
    case, dtype, tmp_path, arrays, publish
):
    model = open_model(str(publish(tmp_path / case, case, arrays(case, "bfloat16"), files=2)))
    wanted = import_params(model.source, model.config, np.dtype(dtype), case)
    layout = layout_of(shapes(model.config), np.dtype(dtype))
    assert_equal(load_sharded(model.source, model.config, layout), wanted)


@pytest.mark.parametrize("form", ["int8", "nf4"])
def test_a_base_is_quantised_as_it_would_be_in_memory(form, tmp_path, arrays, publish):
    model = open_model(str(publish(tmp_path / "in", "llama31", arrays("llama31", "bfloat16"))))
    whole = import_params(model.source, model.config, np.dtype("float32"), "llama31")
    tree = shapes(model.config, lora=LoraConfig(rank=2, base=form))
    _, frozen = split_adapters(layout_of(tree))
    loaded = load_sharded(model.source, model.config, frozen)
    assert_equal(loaded, quantise_base(whole, form))


def cut(bounds: Bounds) -> tuple[slice, ...]:
    return tuple(slice(start, stop) for start, stop in bounds)


@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_any_part_of_any_parameter_is_that_part(piece, tmp_path, arrays, publish, monkeypatch):
    monkeypatch.setattr(safetensors_file, "PIECE_BYTES", piece)
    monkeypatch.setattr(safetensors_file, "BLOCK_BYTES", 700)
    model = open_model(str(publish(tmp_path / "in", "llama_biases", arrays("llama_biases"))))
    random = np.random.default_rng(0)
    for location in tensor_locations(model.config):
        whole = location.leaf(model.source.tensor(location.name))
        for _ in range(4):
            ends = [sorted(random.choice(size + 1, 2, replace=False)) for size in location.shape]
            bounds = tuple((int(start), int(stop)) for start, stop in ends)
            np.testing.assert_array_equal(location.read(model.source, bounds), whole[cut(bounds)])


@pytest.mark.skipif(not PROC.is_file(), reason="reads the peak that Linux keeps")
def test_one_of_four_processes_takes_its_quarter_of_the_memory(tmp_path):
    folder = tmp_path / "deep"
    write_random(folder, "deep-160m", shard_bytes=100_000_000)
    share, whole, peak = load_a_part(folder, 4)
    shutil.rmtree(folder)
    assert share * 4 == pytest.approx(whole, rel=0.01)
    # Beside its share: one tensor, and one stacked array while it goes to the device.
    assert peak < share + 60e6
