"""vcjax against peft: the same adapters on the same base give the same logits."""

from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.adapted import write_run
from tests.parity.live import torch_logits
from tests.parity.random_models import CASES, TensorSource, tensors, tokens
from tests.tiny import tiny_tokenizer
from vcjax.core.lineage import Parent
from vcjax.model.build import abstract, plain_logits
from vcjax.model.config import LlamaConfig
from vcjax.model.lora import LoraConfig
from vcjax.weights.export import save_adapters, write_model
from vcjax.weights.load import load_model
from vcjax.weights.mapping import import_params
from vcjax.weights.model import LoadedModel
from vcjax.weights.resolve import resolve

LORA = LoraConfig(rank=4, alpha=6.0, targets="q|k|v|o|gate|up|down", dropout=0.1)
ROW = tokens(64)


def _base(folder: Path, case: str) -> Path:
    config = LlamaConfig.from_hf(CASES[case])
    params = import_params(TensorSource(tensors(CASES[case])), config, np.float32, case)
    origin = Parent("model", case, "")
    folder.mkdir()
    loaded = LoadedModel(
        config=config,
        params=params,
        tokenizer=tiny_tokenizer(),
        generation_config={},
        dtype="float32",
        stored_dtype="float32",
        origin=origin,
    )
    write_model(folder, loaded, form="hf")
    return folder


def _logits(reference: Path) -> np.ndarray:
    loaded = load_model(str(reference))
    return np.asarray(plain_logits(abstract(loaded.config)[0], loaded.params, ROW))


def _theirs(folder: Path) -> AutoModelForCausalLM:
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )


@pytest.mark.parametrize(
    ("case", "lora"),
    [
        ("llama31", LORA),
        ("llama_biases", LoraConfig(rank=2, alpha=3.5, targets="q|down")),
        ("qwen3", LORA),
    ],
    ids=["llama31", "llama_biases-some", "qwen3"],
)
def test_peft_loads_our_adapters_with_equal_logits(case, lora, tmp_path):
    base = _base(tmp_path / "base", case)
    write_run(tmp_path / "run", base, lora)
    save_adapters(resolve(str(tmp_path / "run")), tmp_path / "adapters")
    ours = _logits(tmp_path / "run")

    adapted = peft.PeftModel.from_pretrained(_theirs(base), tmp_path / "adapters").eval()
    theirs = torch_logits(adapted, ROW)
    error, moved = np.abs(ours - theirs).max(), np.abs(theirs - _logits(base)).max()
    print(f"\n{case}: ours-peft {error:.1e}; the adapters move logits by up to {moved:.1f}")
    assert error <= 1e-4
    assert moved > 1

    merged = torch_logits(adapted.merge_and_unload(), ROW)
    (tmp_path / "merged").mkdir()
    write_model(tmp_path / "merged", load_model(str(tmp_path / "run")), form="hf")
    exported = torch_logits(_theirs(tmp_path / "merged").eval(), ROW)
    assert np.abs(exported - merged).max() <= 1e-4
    assert np.abs(_logits(tmp_path / "adapters") - theirs).max() <= 1e-4


def test_peft_finds_the_base_of_our_adapters_and_keeps_their_settings(tiny_folder, tmp_path):
    write_run(tmp_path / "run", tiny_folder, LORA)
    save_adapters(resolve(str(tmp_path / "run")), tmp_path / "adapters")
    adapted = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapters").eval()
    config = adapted.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (4, 6, 0.1)
    assert np.abs(_logits(tmp_path / "run") - torch_logits(adapted, ROW)).max() <= 1e-4


@pytest.mark.parametrize("rslora", [False, True])
def test_we_load_adapters_of_peft_with_equal_logits(rslora, tmp_path):
    base = _base(tmp_path / "base", "llama31")
    torch.manual_seed(0)
    config = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules=["q_proj", "o_proj", "up_proj"],
        rank_pattern={"o_proj": 2},
        use_rslora=rslora,
        init_lora_weights="gaussian",
        task_type="CAUSAL_LM",
    )
    adapted = peft.get_peft_model(_theirs(base), config).eval()
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.save_pretrained(tmp_path / "adapters")
    theirs = torch_logits(adapted, ROW)
    assert np.abs(theirs - _logits(base)).max() > 1
    assert np.abs(_logits(tmp_path / "adapters") - theirs).max() <= 1e-4
