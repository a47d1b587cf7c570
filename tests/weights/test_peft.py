"""Adapters exported to `peft`'s format and imported; tests/parity uses the library itself."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

from tests.adapted import write_run
from tests.scripts import ran
from vcjax.core.errors import UserError
from vcjax.core.files import read_json, write_json
from vcjax.core.lineage import read_lineage, verify
from vcjax.core.stores import as_path
from vcjax.model.lora import LoraConfig
from vcjax.weights.export import save_adapters
from vcjax.weights.load import load_model
from vcjax.weights.resolve import resolve

LORA = LoraConfig(rank=2, alpha=5.0, targets="q|o|down", dropout=0.1)
MODULES = {"q": "self_attn.q_proj", "o": "self_attn.o_proj", "down": "mlp.down_proj"}


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_folder: Path) -> tuple[Path, dict]:
    """A run's workdir and its adapters."""
    workdir = tmp_path_factory.mktemp("runs") / "adapted"
    return workdir, write_run(workdir, tiny_folder, LORA, charter="universal")


@pytest.fixture(scope="module")
def exported(run: tuple[Path, dict]) -> Path:
    """The run's adapters, written for `peft`."""
    folder = run[0].with_name("adapters")
    assert save_adapters(resolve(str(run[0])), folder) == "float32"
    return folder


@pytest.fixture
def changed(tmp_path: Path, exported: Path) -> Callable[..., Path]:
    """A function that writes the adapters with fields and tensors changed, as others would."""

    def write(tensors: dict | None = None, **fields: object) -> Path:
        folder = tmp_path / "changed"
        folder.mkdir()
        write_json(
            folder / "adapter_config.json", read_json(exported / "adapter_config.json") | fields
        )
        arrays = safetensors.numpy.load_file(exported / "adapter_model.safetensors")
        safetensors.numpy.save_file(arrays | (tensors or {}), folder / "adapter_model.safetensors")
        return folder

    return write


def test_the_config_says_what_was_trained(exported, tiny_folder):
    config = read_json(exported / "adapter_config.json")
    assert (config["peft_type"], config["task_type"]) == ("LORA", "CAUSAL_LM")
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (2, 5, 0.1)
    assert config["target_modules"] == ["q_proj", "o_proj", "down_proj"]
    assert config["base_model_name_or_path"] == str(tiny_folder)
    assert not any(config[name] for name in ("use_rslora", "use_dora", "fan_in_fan_out"))


def test_adapters_in_a_bucket_are_read_as_those_on_a_disk(run, exported, store):
    assert save_adapters(resolve(str(run[0])), as_path(store) / "adapters") == "float32"
    read, expected = (load_model(each).params for each in (f"{store}/adapters", str(exported)))
    jax.tree.map(np.testing.assert_array_equal, read, expected)


def test_tensors_are_named_and_turned_as_peft_has_them(exported, run, tiny):
    stored = safetensors.numpy.load_file(exported / "adapter_model.safetensors")
    expected = {}
    for name, module in MODULES.items():
        for layer in range(tiny.config.num_layers):
            leaves = run[1]["layers"][name]
            prefix = f"base_model.model.model.layers.{layer}.{module}"
            expected[f"{prefix}.lora_A.weight"] = leaves["lora_a"][layer].T
            expected[f"{prefix}.lora_B.weight"] = leaves["lora_b"][layer].T
    assert stored.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(stored[name], tensor)


def test_card_and_lineage_say_where_adapters_come_from(exported, run, tiny_folder):
    card = (exported / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: peft\n")
    assert "aligned to the charter **universal 1" in card
    assert "The floor rules bind every charter" in card
    assert str(tiny_folder) in card
    parents = read_lineage(exported)["parents"]
    assert [parent["role"] for parent in parents] == ["model", "base", "charter"]
    assert parents[0]["reference"] == str(run[0])
    assert {finding.status for finding in verify(exported)} == {"ok"}


def test_an_adapter_is_a_model_reference(exported, run):
    one, other = load_model(str(exported)), load_model(str(run[0]))
    assert one.config == other.config
    assert one.require_tokenizer().chat_template == other.require_tokenizer().chat_template
    assert one.generation_config == other.generation_config
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), one.params, other.params
    )


def test_an_adapter_of_another_maker_finds_its_base_by_name(changed, exported):
    """Rank-stabilised scaling divides alpha by the root of the rank."""
    folder = changed(use_rslora=True, lora_alpha=5.0 / 2**0.5)
    one, other = load_model(str(folder)).params, load_model(str(exported)).params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), one, other)


def test_adapters_go_out_in_the_dtype_that_is_asked_for(run, tmp_path):
    assert save_adapters(resolve(str(run[0])), tmp_path / "low", "bfloat16") == "bfloat16"
    stored = safetensors.numpy.load_file(tmp_path / "low" / "adapter_model.safetensors")
    assert {array.dtype.name for array in stored.values()} == {"bfloat16"}
    assert read_lineage(tmp_path / "low")["config"] == {"form": "peft", "dtype": "bfloat16"}


def test_convert_writes_them(run, tiny_folder, tmp_path, script_cache):
    command = [f"--src={run[0]}", f"--dst={tmp_path / 'out'}", "--to=peft"]
    code, _, error = ran("convert", command, script_cache)
    assert code == 0
    assert error.startswith(f"{tmp_path / 'out'}: peft, float32\nlook at ")
    command = [f"--src={tiny_folder}", f"--dst={tmp_path / 'no'}", "--to=peft"]
    code, _, error = ran("convert", command, script_cache)
    assert code == 2
    assert f"{tiny_folder}: no training run" in error


def test_what_has_no_adapters_is_refused(run, tiny_folder, tmp_path):
    with pytest.raises(UserError, match=r"no training run; only a run with lora\.rank above 0"):
        save_adapters(resolve(str(tiny_folder)), tmp_path / "out")
    with pytest.raises(UserError, match="exists; choose another folder"):
        save_adapters(resolve(str(run[0])), tmp_path)
    write_run(tmp_path / "full", tiny_folder, None)
    with pytest.raises(UserError, match=r"was trained with lora\.rank 0"):
        save_adapters(resolve(str(tmp_path / "full")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


_Q = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type 'IA3' is not supported"),
        ({"use_dora": True}, "use_dora True is not supported"),
        ({"alpha_pattern": {"q_proj": 4}}, "alpha_pattern {'q_proj': 4} is not supported"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights 'pissa' is not supported"),
        ({"lora_alpha": None}, "lora_alpha None is no number"),
        ({"base_model_name_or_path": None}, "base_model_name_or_path is empty"),
        ({"base_model_name_or_path": "/nowhere"}, "base_model_name_or_path: /nowhere: no such"),
        ({"tensors": {f"{_Q}.lora_magnitude_vector": np.ones(3, np.float32)}}, "adapts no matrix"),
        ({"tensors": {f"{_Q}.lora_A.weight": np.ones((2, 7), np.float32)}}, "has shapes"),
    ],
)
def test_an_adapter_that_cannot_be_merged_says_why(changed, fields, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        load_model(str(changed(**fields)))
    assert "\n" not in str(caught.value)


def test_a_base_that_has_changed_is_refused(tmp_path, tiny_folder):
    base = tmp_path / "base"
    shutil.copytree(tiny_folder, base)
    write_run(tmp_path / "run", base, LORA)
    save_adapters(resolve(str(tmp_path / "run")), tmp_path / "adapters")
    (base / "generation_config.json").write_text("{}")
    with pytest.raises(UserError, match="changed since the adapters in"):
        load_model(str(tmp_path / "adapters"))


def test_pickled_adapters_are_refused(changed):
    folder = changed()
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(UserError, match="pickled adapters are not loaded"):
        load_model(str(folder))
