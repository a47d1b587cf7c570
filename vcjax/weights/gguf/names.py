"""Names of tensors in GGUF files and in Hugging Face checkpoints, and the order of their rows.

Source: llama.cpp's converters `conversion/{llama,qwen}.py` and `gguf-py`'s `tensor_mapping.py`.
"""

import re

import numpy as np

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
