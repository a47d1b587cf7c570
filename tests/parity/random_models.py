"""Small random models of every supported architecture, the same on every machine.

They are only names, shapes and numbers: the recorder loads them into transformers, the tests into
vcjax. The numbers come from raw Philox words, whose stream NumPy keeps across releases.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from vcjax.weights.mapping import Source

VOCAB, LENGTH = 128, 520
# Both sides of the windows (48) and of llama3's original context (64), and the last one.
POSITIONS = (0, 1, 5, 17, 46, 47, 48, 49, 62, 63, 64, 65, 95, 128, 191, 255, 256, 300, 333)
POSITIONS += (400, 450, 511, 512, 519)

_BASE = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "max_position_embeddings": 1024,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10_000.0,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_LLAMA = {**_BASE, "architectures": ["LlamaForCausalLM"], "model_type": "llama"}
_MISTRAL = {**_BASE, "architectures": ["MistralForCausalLM"], "model_type": "mistral"}
_QWEN2 = {**_BASE, "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}
_QWEN3 = {**_BASE, "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

CASES: dict[str, dict[str, Any]] = {
    "llama31": {**_LLAMA, "rope_theta": 500_000.0, "rope_scaling": LLAMA3_ROPE},
    "llama32_tied": {
        **_LLAMA,
        "rope_theta": 500_000.0,
        "rope_scaling": {**LLAMA3_ROPE, "factor": 32.0},
        "tie_word_embeddings": True,
    },
    "llama_biases": {**_LLAMA, "attention_bias": True, "mlp_bias": True},
    "llama_linear_rope": {**_LLAMA, "rope_scaling": {"type": "linear", "factor": 4.0}},
    "mistral": {**_MISTRAL, "sliding_window": None},
    "mistral_window": {**_MISTRAL, "sliding_window": 48},
    "qwen2": {**_QWEN2, "rope_theta": 1_000_000.0, "use_sliding_window": False},
    "qwen2_window": {
        **_QWEN2,
        "tie_word_embeddings": True,
        "use_sliding_window": True,
        "sliding_window": 48,
        "max_window_layers": 1,
    },
    # 4 heads of 24 on a stream of 64: head_dim is not hidden_size / heads.
    "qwen3": {**_QWEN3, "head_dim": 24, "rope_theta": 1_000_000.0, "use_sliding_window": False},
}


def tokens(length: int = LENGTH) -> np.ndarray:
    """Random ids, int32 [1, length]."""
    return (_words("tokens", length) % VOCAB).astype(np.int32)[None]


def tensors(raw: Mapping[str, Any], salt: str = "") -> dict[str, np.ndarray]:
    """Every tensor of a `config.json`, float32, by its Hugging Face name.

    Scaled so that attention is far from uniform and logits spread by about 2; biases and norm
    weights are random too, since zeros and ones would hide a tensor that is never read.
    """
    hidden, heads = raw["hidden_size"], raw["num_attention_heads"]
    head_dim = raw.get("head_dim") or hidden // heads
    query, key = heads * head_dim, raw["num_key_value_heads"] * head_dim
    middle, kind = raw["intermediate_size"], raw["model_type"]
    bias = bool(raw.get("attention_bias"))
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (raw["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    if not raw["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (raw["vocab_size"], hidden)
    for layer in range(raw["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        for name, out, in_, biased in (
            ("self_attn.q_proj", query, hidden, bias or kind == "qwen2"),
            ("self_attn.k_proj", key, hidden, bias or kind == "qwen2"),
            ("self_attn.v_proj", key, hidden, bias or kind == "qwen2"),
            ("self_attn.o_proj", hidden, query, bias),
            ("mlp.gate_proj", middle, hidden, bool(raw.get("mlp_bias"))),
            ("mlp.up_proj", middle, hidden, bool(raw.get("mlp_bias"))),
            ("mlp.down_proj", hidden, middle, bool(raw.get("mlp_bias"))),
        ):
            shapes[f"{prefix}.{name}.weight"] = (out, in_)
            if biased:
                shapes[f"{prefix}.{name}.bias"] = (out,)
        shapes[f"{prefix}.input_layernorm.weight"] = (hidden,)
        shapes[f"{prefix}.post_attention_layernorm.weight"] = (hidden,)
        if kind == "qwen3":
            shapes[f"{prefix}.self_attn.q_norm.weight"] = (head_dim,)
            shapes[f"{prefix}.self_attn.k_norm.weight"] = (head_dim,)
    return {name: _tensor(name, shape, salt) for name, shape in shapes.items()}


class TensorSource(Source):
    """Tensors in memory, as `vcjax.weights.mapping.import_params` reads them."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = arrays

    def names(self) -> list[str]:
        return list(self._arrays)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._arrays[name].shape

    def tensor(self, name: str) -> np.ndarray:
        return self._arrays[name]


def _tensor(name: str, shape: tuple[int, ...], salt: str) -> np.ndarray:
    """Uniform numbers: around 1 for norms, around 0 with a deviation that suits the rest."""
    words = _words(salt + name, int(np.prod(shape)))
    unit = (words >> np.uint64(40)).astype(np.float32) / np.float32(2**23) - np.float32(1)
    unit = unit.reshape(shape)
    if "norm" in name:
        return np.float32(1) + np.float32(0.5) * unit
    if name.endswith("bias"):
        return np.float32(0.5) * unit
    gain = 2.0 if "embed" in name or "head" in name or "q_proj" in name else 1.0
    return np.float32(gain * (3 / shape[1]) ** 0.5) * unit


def _words(name: str, count: int) -> np.ndarray:
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big")
    return np.random.Philox(key=key).random_raw(count)
