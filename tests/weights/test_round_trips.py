"""Invariant 2: weights come out of any chain of conversions bit for bit as they went in."""

import jax
import numpy as np
import pytest

from tests.parity.random_models import CASES
from vcjax.core.files import read_json
from vcjax.model.config import LlamaConfig
from vcjax.weights.export import write_model
from vcjax.weights.hf import write_weights
from vcjax.weights.load import load_model

DTYPES = ("float32", "bfloat16", "float16")


def _write(folder, loaded, form, dtype=None):
    folder.mkdir()
    write_model(folder, loaded, form=form, dtype=dtype)
    return folder


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("files", [1, 3])
def test_hugging_face_and_back(dtype, files, tmp_path, arrays, publish, stored, assert_same_bits):
    original = arrays("llama_biases", dtype)
    loaded = load_model(str(publish(tmp_path / "in", "llama_biases", original, files)))
    assert (loaded.dtype, loaded.stored_dtype) == (dtype, dtype)
    out = _write(tmp_path / "out", loaded, "hf")
    assert_same_bits(stored(out), original)
    assert read_json(out / "config.json")["dtype"] == dtype


@pytest.mark.parametrize("case", CASES)
def test_every_architecture_and_back(case, tmp_path, arrays, publish, stored, assert_same_bits):
    loaded = load_model(str(publish(tmp_path / "in", case, arrays(case))))
    out = _write(tmp_path / "out", loaded, "hf")
    assert_same_bits(stored(out), arrays(case))
    assert LlamaConfig.from_hf(read_json(out / "config.json")) == loaded.config


@pytest.mark.parametrize("dtype", DTYPES)
def test_through_a_checkpoint_and_back(dtype, tmp_path, arrays, publish, stored, assert_same_bits):
    original = arrays("qwen3", dtype)
    first = load_model(str(publish(tmp_path / "in", "qwen3", original)))
    second = load_model(str(_write(tmp_path / "checkpoint", first, "checkpoint")))
    assert second.config == first.config
    assert (second.dtype, second.stored_dtype) == (dtype, dtype)
    jax.tree.map(np.testing.assert_array_equal, first.params, second.params)
    assert_same_bits(stored(_write(tmp_path / "out", second, "hf")), original)


def test_held_in_float32_a_bfloat16_model_goes_out_as_it_came(
    tmp_path, arrays, publish, stored, assert_same_bits
):
    original = arrays("llama32_tied", "bfloat16")
    loaded = load_model(str(publish(tmp_path / "in", "llama32_tied", original)), "float32")
    assert (loaded.dtype, loaded.stored_dtype) == ("float32", "bfloat16")
    assert_same_bits(stored(_write(tmp_path / "out", loaded, "hf")), original)
    wide = stored(_write(tmp_path / "wide", loaded, "hf", "float32"))
    assert_same_bits(wide, {n: a.astype(np.float32) for n, a in original.items()})


def test_shards_are_bounded_and_indexed(tmp_path, arrays, publish, stored, assert_same_bits):
    original = arrays("mistral")
    loaded = load_model(str(publish(tmp_path / "in", "mistral", original)))
    write_weights(tmp_path, loaded.source, loaded.config, "float32", shard_bytes=60_000)
    index = read_json(tmp_path / "model.safetensors.index.json")
    assert index["metadata"]["total_size"] == sum(a.nbytes for a in original.values())
    assert index["weight_map"].keys() == original.keys()
    files = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert files == sorted(set(index["weight_map"].values()))
    assert len(files) > 3
    assert all((tmp_path / file).stat().st_size < 64_000 for file in files)
    assert_same_bits(stored(tmp_path), original)
    again = load_model(str(tmp_path))
    jax.tree.map(np.testing.assert_array_equal, again.params, loaded.params)


def test_a_published_single_file_wins_over_its_makers_own_layout(tmp_path, arrays, publish):
    folder = publish(tmp_path, "mistral", arrays("mistral"))
    (folder / "consolidated.safetensors").write_bytes(b"another layout of the same weights")
    assert load_model(str(folder)).config.architecture == "MistralForCausalLM"


@pytest.mark.parametrize("form", ["hf", "checkpoint"])
def test_generation_defaults_travel(form, tmp_path, arrays, publish):
    folder = publish(tmp_path / "in", "qwen2", arrays("qwen2"), eos_token_id=[2, 3])
    assert load_model(str(folder)).eos_ids == (2, 3)
    (folder / "generation_config.json").write_text('{"eos_token_id": 5, "top_p": 0.8}')
    assert load_model(str(folder)).eos_ids == (5,)
    (folder / "generation_config.json").write_text('{"eos_token_id": [5, 7], "top_p": 0.8}')
    loaded = load_model(str(folder))
    assert (loaded.eos_ids, loaded.config.eos_ids) == ((5, 7), (2, 3))
    again = load_model(str(_write(tmp_path / "out", loaded, form)))
    assert again.eos_ids == (5, 7)
    assert again.generation_config["top_p"] == 0.8
