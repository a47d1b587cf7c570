"""vcjax against transformers on random models: logits, and round trips of weights."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.torch
import torch
from transformers import AutoModelForCausalLM

from tests.parity.live import torch_logits, torch_model
from tests.parity.random_models import CASES, TensorSource, tensors, tokens
from vcjax.model.build import abstract, plain_logits
from vcjax.model.config import LlamaConfig
from vcjax.weights.export import write_model
from vcjax.weights.hf import write_weights
from vcjax.weights.load import load_model
from vcjax.weights.mapping import ParamsSource, import_params

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def _ours(case: str, **options: object) -> np.ndarray:
    config = LlamaConfig.from_hf(CASES[case])
    params = import_params(TensorSource(tensors(CASES[case])), config, np.float32, case)
    graph, _ = abstract(config, **options)
    return np.asarray(plain_logits(graph, params, tokens()))


def _stored(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder's safetensors files."""
    found = {}
    for file in folder.glob("*.safetensors"):
        found.update(safetensors.torch.load_file(file))
    return found


def _assert_same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert tensor.dtype == other[name].dtype, name
        assert tensor.shape == other[name].shape, name
        assert torch.equal(tensor.view(torch.uint8), other[name].view(torch.uint8)), name


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_in_float32_and_float64(case):
    arrays, ours = tensors(CASES[case]), _ours(case)
    single = torch_logits(torch_model(CASES[case], arrays), tokens())
    double = torch_logits(torch_model(CASES[case], arrays, torch.float64), tokens())
    errors = [np.abs(a - b).max() for a, b in ((ours, single), (ours, double), (single, double))]
    print(f"\n{case}: ours-f32 {errors[0]:.1e}, ours-f64 {errors[1]:.1e}, f32-f64 {errors[2]:.1e}")
    assert errors[0] <= 1e-4
    assert errors[1] <= 1e-4


@pytest.mark.parametrize("case", ["llama31", "qwen3"])
def test_bfloat16_compute_is_as_far_from_float32_as_that_of_transformers(case):
    arrays, ours = tensors(CASES[case]), _ours(case, dtype=jnp.bfloat16)
    exact = torch_logits(torch_model(CASES[case], arrays), tokens())
    model = torch_model(CASES[case], arrays, torch.bfloat16)
    with torch.no_grad():
        theirs = model(torch.from_numpy(tokens()).long()).logits.float().numpy()
    error, reference = (np.abs(a - exact).mean() for a in (ours, theirs))
    print(f"\n{case}: mean error of ours {error:.4f}, of transformers {reference:.4f}")
    assert error <= 1.25 * reference


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_transformers_loads_our_sharded_export(case, dtype, tmp_path):
    arrays, config = tensors(CASES[case]), LlamaConfig.from_hf(CASES[case])
    params = import_params(TensorSource(arrays), config, np.float32, case)
    source = ParamsSource(params, config)
    write_weights(tmp_path, source, config, dtype, shard_bytes=100_000)
    assert len(list(tmp_path.glob("model-*-of-*.safetensors"))) > 1
    model, info = AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype="auto", attn_implementation="eager", output_loading_info=True
    )
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.dtype == DTYPES[dtype]
    assert model.config.architectures == CASES[case]["architectures"]
    original = torch_model(CASES[case], arrays, DTYPES[dtype])
    with torch.no_grad():
        ids = torch.from_numpy(tokens()).long()
        assert torch.equal(model(ids).logits, original(ids).logits)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_from_transformers_and_back_bit_for_bit(case, dtype, tmp_path):
    model = torch_model(CASES[case], tensors(CASES[case]), DTYPES[dtype])
    model.save_pretrained(tmp_path / "theirs", max_shard_size="100KB")
    loaded = load_model(str(tmp_path / "theirs"))
    assert loaded.config == LlamaConfig.from_hf(CASES[case])
    assert (loaded.dtype, loaded.stored_dtype) == (dtype, dtype)
    (tmp_path / "ours").mkdir()
    write_model(tmp_path / "ours", loaded, form="hf")
    _assert_same_bits(_stored(tmp_path / "theirs"), _stored(tmp_path / "ours"))
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "ours", dtype="auto")
    _assert_same_bits(model.state_dict(), again.state_dict())
