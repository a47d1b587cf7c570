"""In what GGUF files differ from Hugging Face's: tensors' names, the order of rows, RoPE's scaling.

Source: llama.cpp's converters `conversion/{llama,qwen}.py` and `gguf-py`'s `tensor_mapping.py`.
"""

import re
from typing import Any

import numpy as np

from vcjax.core.errors import UserError
from vcjax.model.rope import FREQUENCIES, RopeConfig
from vcjax.weights.gguf.metadata import Metadata

# general.architecture -> the class name in config.json. Mistral files are labelled llama.
ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}

_TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_LAYER_NAME = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")
_HF_LAYER_NAME = re.compile(r"model\.layers\.(\d+)\.([\w.]+)\.(weight|bias)")
_GGUF_TOP = {hf: name for name, hf in _TOP.items()}
_GGUF_LAYER = {hf: name for name, hf in _LAYER.items()}

# Divisors of the frequencies, float32 [head_dim / 2].
ROPE_FACTORS = "rope_freqs.weight"


# --- names of tensors and the order of their rows -------------------------------------------------


def hf_name(name: str) -> str | None:
    """The Hugging Face name of a GGUF file's tensor; None where there is no such tensor."""
    if name in _TOP:
        return _TOP[name]
    match = _LAYER_NAME.fullmatch(name)
    if match is None or match[2] not in _LAYER:
        return None
    return f"model.layers.{int(match[1])}.{_LAYER[match[2]]}.{match[3]}"


def gguf_name(name: str) -> str:
    """The name in a GGUF file of a tensor of the supported models, by its Hugging Face name."""
    if name in _GGUF_TOP:
        return _GGUF_TOP[name]
    match = _HF_LAYER_NAME.fullmatch(name)
    assert match is not None, name
    return f"blk.{match[1]}.{_GGUF_LAYER[match[2]]}.{match[3]}"


def is_permuted(architecture: str, name: str) -> bool:
    """Whether a GGUF file has the rows of a tensor, by its Hugging Face name, in another order.

    HF's rotation pairs row i of a head with row i + head_dim/2, llama.cpp's pairs rows 2i and
    2i + 1; its converter reorders the rows, for architecture llama only.
    """
    return architecture == "llama" and (".q_proj." in name or ".k_proj." in name)


def permuted(array: np.ndarray, heads: int) -> np.ndarray:
    """Rows from Hugging Face's order to llama.cpp's (`LlamaModel.permute` there)."""
    # Of a head of 4 rows 0 1 2 3 becomes 0 2 1 3: both rotate the pairs (0, 2) and (1, 3), so that
    # scores are the same. Biases of q and k go the same way, or a head would be shifted along wrong
    # dimensions.
    halves = array.reshape(heads, 2, len(array) // heads // 2, *array.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(array.shape))


def unpermuted(array: np.ndarray, heads: int) -> np.ndarray:
    """Rows from llama.cpp's order to Hugging Face's."""
    pairs = array.reshape(heads, len(array) // heads // 2, 2, *array.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(array.shape))


# --- RoPE scaling, from a file and to one ---------------------------------------------------------


def rope_scaling(
    metadata: Metadata,
    architecture: str,
    theta: float,
    head_dim: int,
    factors: np.ndarray | None,
) -> dict[str, Any] | None:
    """Returns config.json's `rope_scaling`, or None where positions aren't scaled.

    `factors` is the data of the tensor `rope_freqs.weight`, or None where the file has none.

    Raises:
      UserError: partial rotation, another kind of scaling than linear or Llama 3's, or factors
        that don't follow Llama 3.1's rule.
    """
    prefix = f"{architecture}.rope"
    rotated = metadata.optional(f"{prefix}.dimension_count", int)
    if rotated is not None and rotated != head_dim:
        raise UserError(
            f"{metadata.path}: {rotated} of {head_dim} dimensions of a head are rotated "
            f"({prefix}.dimension_count); partial rotation is not supported"
        )
    # A factor without a type is linear scaling; `scale_linear` is its name in older files.
    kind = metadata.optional(f"{prefix}.scaling.type", str) or "linear"
    factor = metadata.optional(f"{prefix}.scaling.factor", float)
    factor = factor or metadata.optional(f"{prefix}.scale_linear", float) or 1.0
    linear = kind == "linear" and factor != 1.0
    if kind not in ("none", "linear") or (linear and factors is not None):
        raise UserError(
            f"{metadata.path}: rope scaling {kind!r}{' with factors' if linear else ''} is not "
            f"supported (supported: none, linear, or Llama 3's tensor {ROPE_FACTORS!r})"
        )
    if factors is not None:
        return _llama3(metadata, theta, head_dim, factors)
    return {"rope_type": "linear", "factor": factor} if linear else None


def _llama3(
    metadata: Metadata, theta: float, head_dim: int, factors: np.ndarray
) -> dict[str, Any] | None:
    """Recovers the parameters of Llama 3.1's rule from its result.

    The tensor doesn't contain them: those that Meta published are tried with the largest divisor as
    the factor, then with the published 8 and 32, which a small `theta` never reaches in full.
    """
    plain = FREQUENCIES["default"](RopeConfig(theta=theta), head_dim)
    for factor in (float(factors.max()), 8.0, 32.0):
        rope = RopeConfig(rope_type="llama3", theta=theta, factor=factor)
        divisors = plain / FREQUENCIES["llama3"](rope, head_dim)
        if factors.shape == divisors.shape and np.allclose(factors, divisors, rtol=1e-4, atol=0):
            break
    else:
        raise UserError(
            f"{metadata.path}: the frequency factors in {ROPE_FACTORS!r} aren't understood: they "
            f"don't follow Llama 3.1's rule with its published parameters"
        )
    if factor == 1.0:  # every frequency is kept
        return None
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": rope.low_freq_factor,
        "high_freq_factor": rope.high_freq_factor,
        "original_max_position_embeddings": rope.original_max_position,
    }


def rope_factors(rope: RopeConfig, head_dim: int) -> np.ndarray | None:
    """The tensor by which Llama 3.1's scaling is stored: what each frequency is divided by."""
    if rope.rope_type != "llama3":
        return None
    plain = FREQUENCIES["default"](rope, head_dim)
    return (plain / FREQUENCIES["llama3"](rope, head_dim)).astype(np.float32)
