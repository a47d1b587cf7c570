"""A conversion has one tensor in memory, never the model; it writes the tensors that it read."""

import re
import weakref
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from vcjax.core.errors import UserError
from vcjax.core.lineage import NAME, read_lineage
from vcjax.core.progress import Progress
from vcjax.weights import safetensors_file
from vcjax.weights.checkpoint import Leaf, open_leaves, save_leaves
from vcjax.weights.export import save_model
from vcjax.weights.load import load_model, open_located
from vcjax.weights.model import StoredModel
from vcjax.weights.resolve import resolve


def _open(folder) -> StoredModel:
    model = open_located(resolve(str(folder)))
    assert isinstance(model, StoredModel)
    return model


@pytest.mark.parametrize("dtype", safetensors_file.NAMES)
def test_a_file_is_the_library_s_own_byte_for_byte(dtype, tmp_path, monkeypatch):
    monkeypatch.setattr(safetensors_file, "BLOCK_BYTES", 500)
    draw = np.random.default_rng(0).standard_normal
    wide = {"b.weight": draw((30, 7)).T, "a": draw(5), "人": draw((300, 2)), "c": draw((1, 400))}
    tensors = {name: np.ascontiguousarray(a, jnp.dtype(dtype)) for name, a in wide.items()}
    safetensors.numpy.save_file(tensors, tmp_path / "theirs", metadata={"format": "pt"})
    shapes = {name: array.shape for name, array in wide.items()}
    with Progress(desc="tensors", total=None, disable=True) as bar:
        safetensors_file.write_file(tmp_path / "ours", shapes, dtype, wide.__getitem__, bar)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    stored = safetensors_file.read_header(tmp_path / "ours")
    assert stored.keys() == tensors.keys()
    for name, array in tensors.items():
        assert safetensors_file.read_tensor(stored[name]).tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", [None, "float32", "float16"])
def test_through_memory_or_not_the_folder_is_the_same(dtype, tmp_path, arrays, publish):
    folder = publish(tmp_path / "in", "qwen2", arrays("qwen2", "bfloat16"), files=3)
    checkpoint = tmp_path / "checkpoint"
    save_model(_open(folder), checkpoint, form="checkpoint")
    for source in (folder, checkpoint):
        one, other = tmp_path / "streamed" / source.name, tmp_path / "loaded" / source.name
        save_model(_open(source), one, form="hf", dtype=dtype)
        save_model(load_model(str(source)), other, form="hf", dtype=dtype)
        names = sorted(path.name for path in one.iterdir())
        assert names == sorted(path.name for path in other.iterdir())
        assert read_lineage(one)["hash"] == read_lineage(other)["hash"]
        for name in set(names) - {NAME}:
            assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize("case", ["llama32_tied", "llama_biases", "qwen3"])
def test_an_architecture_through_a_checkpoint(
    case, tmp_path, arrays, publish, stored, assert_same_bits
):
    original = arrays(case, "bfloat16")
    save_model(_open(publish(tmp_path / "in", case, original)), tmp_path / "a", form="checkpoint")
    save_model(_open(tmp_path / "a"), tmp_path / "b", form="checkpoint", dtype="float32")
    save_model(_open(tmp_path / "b"), tmp_path / "c", form="hf", dtype="bfloat16")
    assert_same_bits(stored(tmp_path / "c"), original)


def test_a_tensor_that_is_wider_than_the_rest_is_rounded_once(tmp_path, arrays, publish, stored):
    name = "model.norm.weight"
    original = arrays("mistral", "bfloat16") | {name: arrays("mistral")[name]}
    model = _open(publish(tmp_path / "in", "mistral", original))
    save_model(model, tmp_path / "out", form="hf", dtype="float32")
    assert stored(tmp_path / "out")[name].tobytes() == original[name].tobytes()


def test_a_fault_on_the_way_leaves_no_folder(tmp_path, arrays, publish):
    original = arrays("mistral")
    name = "model.norm.weight"
    folder = publish(tmp_path / "in", "mistral", original | {name: original[name].astype(np.int8)})
    with pytest.raises(UserError, match=re.escape(f"{folder}: tensors of type I8 are not")):
        save_model(_open(folder), tmp_path / "out", form="hf")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_damaged_checkpoint_is_named(tmp_path, arrays, publish):
    folder = publish(tmp_path / "in", "mistral", arrays("mistral"))
    checkpoint = tmp_path / "checkpoint"
    save_model(_open(folder), checkpoint, form="checkpoint")
    data = max(checkpoint.rglob("ocdbt.process_0/d/*"), key=lambda path: path.stat().st_size)
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    with pytest.raises(UserError, match=re.escape(f"{checkpoint}/params: incomplete or corrupt (")):
        save_model(_open(checkpoint), tmp_path / "out", form="hf")
    assert not (tmp_path / "out").exists()


def test_leaves_are_made_a_few_at_a_time_and_read_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("vcjax.weights.checkpoint.CHUNK_BYTES", 400)
    arrays = {n: np.arange(600, dtype=np.float32).reshape(20, 30) * n for n in range(4)}
    nbytes = {0: 300, 1: 90, 2: 20, 3: 2400}  # the first three are written together
    alive: list[int] = []

    def make(number: int) -> np.ndarray:
        made = arrays[number].T.copy()
        alive.append(number)
        weakref.finalize(made, alive.remove, number)
        assert len(alive) <= 3
        return made

    save_leaves(
        tmp_path / "params",
        {str(n): {"kernel": Leaf(nbytes[n], partial(make, n))} for n in arrays},
    )
    shapes, leaves = open_leaves(tmp_path / "params")
    assert shapes == {f"{n}.kernel": (30, 20) for n in arrays}
    for number, array in arrays.items():
        np.testing.assert_array_equal(leaves[f"{number}.kernel"](), array.T)
