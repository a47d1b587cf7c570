"""A user's mistakes with model folders: one line each, which names the file or the tensor."""

import numpy as np
import pytest
import safetensors.numpy

from vcjax.core.errors import UserError
from vcjax.core.files import read_json, write_json
from vcjax.model.rope import FREQUENCIES
from vcjax.weights.export import write_model
from vcjax.weights.hf import HFSource
from vcjax.weights.load import load_model
from vcjax.weights.resolve import resolve

CASE = "llama31"


@pytest.fixture
def folder(tmp_path, arrays, publish):
    return publish(tmp_path / "model", CASE, arrays(CASE))


@pytest.fixture
def refused():
    """A function that loads a reference, which must fail, and returns the message."""

    def load(reference, dtype=None) -> str:
        with pytest.raises(UserError) as caught:
            load_model(str(reference), dtype)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return load


def test_folder_without_config(folder, refused):
    (folder / "config.json").unlink()
    assert refused(folder) == f"{folder}: no config.json: not a model folder"
    with pytest.raises(UserError, match="not a Hugging Face model folder"):
        HFSource(folder)


def test_config_that_is_not_json_or_not_supported(folder, refused):
    raw = read_json(folder / "config.json")
    write_json(folder / "config.json", {**raw, "architectures": ["BertModel"]})
    message = refused(folder)
    assert message.startswith(f"{folder}/config.json: architecture 'BertModel'")
    (folder / "config.json").write_text("{")
    assert refused(folder).startswith(f"{folder}/config.json:1: not JSON")


@pytest.mark.parametrize("keep", [0, 5, 400, -1])
def test_truncated_safetensors(keep, folder, refused):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    assert refused(folder).startswith(f"{file}: truncated or corrupt (")


def test_pickled_weights_only(folder, refused):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "pickled weights are not loaded; convert them to safetensors" in refused(folder)
    (folder / "pytorch_model.bin").unlink()
    assert refused(folder) == f"{folder}: no .safetensors file"


def test_index_that_names_an_absent_file(tmp_path, arrays, publish, refused):
    folder = publish(tmp_path / "sharded", CASE, arrays(CASE), files=2)
    gone = "model-00002-of-00002.safetensors"
    (folder / gone).unlink()
    message = refused(folder)
    assert message.startswith(f"{folder}/model.safetensors.index.json: names {gone!r}")


def test_index_that_leaves_the_folder(folder, refused):
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    index = {"weight_map": {"model.norm.weight": "../model.safetensors"}}
    write_json(folder / "model.safetensors.index.json", index)
    assert "names '../model.safetensors', which isn't in the folder" in refused(folder)


def test_one_tensor_in_two_files(tmp_path, arrays, publish, refused):
    folder = publish(tmp_path / "sharded", CASE, arrays(CASE), files=2)
    (folder / "model.safetensors.index.json").unlink()
    name = "model.norm.weight"
    safetensors.numpy.save_file({name: arrays(CASE)[name]}, folder / "more.safetensors")
    message = refused(folder)
    assert repr(name) in message
    assert "more.safetensors" in message


def test_no_tensors(tmp_path, publish, refused):
    assert refused(publish(tmp_path / "empty", CASE, {})).endswith(
        "no tensors in its safetensors files"
    )


def _change(arrays: dict, name: str, tensor: np.ndarray | None) -> dict:
    rest = {other: array for other, array in arrays.items() if other != name}
    return rest if tensor is None else {**rest, name: tensor}


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("model.norm.weight", None, "tensor 'model.norm.weight' is missing"),
        ("lm_head.weight", None, "tensor 'lm_head.weight' is missing"),
        (
            "model.layers.1.self_attn.q_proj.bias",
            np.zeros(64, np.float32),
            "tensor 'model.layers.1.self_attn.q_proj.bias' is not part of this model",
        ),
        (
            "model.layers.2.mlp.up_proj.weight",
            np.zeros((64, 96), np.float32),
            "tensor 'model.layers.2.mlp.up_proj.weight' has shape (64, 96), "
            "the config says (96, 64)",
        ),
        (
            "model.rotary_emb.inv_freq",
            np.ones(8, np.float32),
            "'model.rotary_emb.inv_freq' contradicts the config; it can't be dropped",
        ),
    ],
    ids=["missing", "missing head", "extra", "shape", "inv_freq"],
)
def test_tensor_that_does_not_fit_the_config(
    name, tensor, message, tmp_path, arrays, publish, refused
):
    folder = publish(tmp_path / "model", CASE, _change(arrays(CASE), name, tensor))
    assert refused(folder) == f"{folder}: {message}"


def test_many_missing_tensors_are_counted(tmp_path, arrays, publish, refused):
    few = {n: a for n, a in arrays(CASE).items() if "layers.2" not in n}
    folder = publish(tmp_path / "model", CASE, few)
    first = "model.layers.2.input_layernorm.weight"
    assert refused(folder) == f"{folder}: tensor {first!r} is missing (and 8 more)"


def test_redundant_tensors_that_agree_are_dropped(tmp_path, arrays, publish, stored):
    case = "llama32_tied"
    original = arrays(case)
    config = load_model(str(publish(tmp_path / "plain", case, original))).config
    frequencies = FREQUENCIES["llama3"](config.rope, config.head_dim)
    more = {
        **original,
        "lm_head.weight": original["model.embed_tokens.weight"],
        "model.layers.0.self_attn.rotary_emb.inv_freq": frequencies,
    }
    loaded = load_model(str(publish(tmp_path / "more", case, more)))
    (tmp_path / "out").mkdir()
    write_model(tmp_path / "out", loaded, form="hf")
    assert stored(tmp_path / "out").keys() == original.keys()


def test_stored_head_that_differs_from_the_tied_embedding(tmp_path, arrays, publish, refused):
    original = arrays("llama32_tied")
    head = original["model.embed_tokens.weight"].copy()
    head[3, 4] += 1
    folder = publish(tmp_path / "model", "llama32_tied", {**original, "lm_head.weight": head})
    assert (
        refused(folder) == f"{folder}: 'lm_head.weight' contradicts the config; it can't be dropped"
    )


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("smollm2-135m-instrukt", "no shipped model; did you mean 'smollm2-135m-instruct'?"),
        ("./nowhere", "./nowhere: no such folder or file, and no shipped model"),
        ("two words", "two words: no such folder or file, and no shipped model"),
    ],
)
def test_reference_to_nothing(reference, message, refused):
    assert refused(reference).endswith(message)


def test_file_that_is_no_model(tmp_path, refused):
    file = tmp_path / "weights.txt"
    file.write_text("hello")
    assert refused(file) == f"{file}: not a model (a folder or a .gguf file is)"
    file = tmp_path / "weights.gguf"
    file.write_text("hello")
    assert refused(file).startswith(f"{file}: ")


def test_folders_resolve_by_what_is_in_them(folder, tmp_path):
    assert (resolve(str(folder)).kind, resolve(str(folder)).path) == ("hf", folder)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    assert resolve(str(tmp_path / "run")).kind == "workdir"


def test_without_a_tokenizer_only_using_it_fails(folder):
    loaded = load_model(str(folder))
    assert loaded.tokenizer is None
    with pytest.raises(UserError, match="this model has no tokenizer") as caught:
        loaded.require_tokenizer()
    assert str(folder) in str(caught.value)


def test_unknown_dtype_or_form(folder, tmp_path, refused):
    assert refused(folder, "float8").startswith("dtype 'float8' is not supported (supported: fl")
    loaded = load_model(str(folder))
    with pytest.raises(UserError, match="dtype 'int8' is not supported"):
        write_model(tmp_path, loaded, form="hf", dtype="int8")
    with pytest.raises(UserError, match="form 'gguf' is not known \\(known: hf, checkpoint\\)"):
        write_model(tmp_path, loaded, form="gguf")


def test_stored_dtype_that_is_not_a_weight(tmp_path, arrays, publish, refused):
    integers = {name: array.astype(np.int8) for name, array in arrays(CASE).items()}
    folder = publish(tmp_path / "model", CASE, integers)
    assert refused(folder) == f"{folder}: tensors of type I8 are not supported"


@pytest.fixture
def checkpoint(folder, tmp_path):
    target = tmp_path / "checkpoint"
    target.mkdir()
    write_model(target, load_model(str(folder)), form="checkpoint")
    return target


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 4}, "'layers.3.attention_norm.weight' is missing from params/"),
        ({"num_hidden_layers": 2}, "'layers.2.attention_norm.weight' in params/ is not part of"),
        ({"attention_bias": True}, "'layers.0.k.bias' is missing from params/"),
        ({"intermediate_size": 80}, "'layers.0.down.kernel' has shape (96, 64), the config says"),
    ],
    ids=str,
)
def test_checkpoint_of_another_config(changes, message, checkpoint, refused):
    raw = read_json(checkpoint / "config.json")
    write_json(checkpoint / "config.json", {**raw, **changes})
    assert refused(checkpoint).startswith(f"{checkpoint}: {message}")


def test_checkpoint_that_is_incomplete(checkpoint, refused):
    (checkpoint / "params" / "manifest.ocdbt").unlink()
    assert refused(checkpoint).startswith(f"{checkpoint}/params: incomplete or corrupt (")
    (checkpoint / "params").rename(checkpoint / "elsewhere")
    assert refused(checkpoint) == f"{checkpoint}: no params/: the checkpoint is incomplete"
