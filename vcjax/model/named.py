"""Shapes of well-known models, without weights: for plans and benchmarks.

Source: the `config.json` of Meta-Llama-3-8B, Meta-Llama-3-70B, Llama-3.2-1B and SmolLM2-135M.
"""

from typing import Any

from vcjax.model.config import LlamaConfig
from vcjax.model.rope import RopeConfig


def _llama3(**shape: Any) -> LlamaConfig:
    fields = {
        "architecture": "LlamaForCausalLM",
        "vocab_size": 128_256,
        "num_kv_heads": 8,
        "max_position": 8_192,
        "rms_norm_eps": 1e-5,
        "rope": RopeConfig(theta=500_000.0, original_max_position=8_192),
        "bos_ids": (128_000,),
        "eos_ids": (128_001,),
    }
    return LlamaConfig(**{**fields, **shape})


NAMED = {
    "llama3-8b": _llama3(
        hidden_size=4_096, intermediate_size=14_336, num_layers=32, num_heads=32, head_dim=128
    ),
    "llama3-70b": _llama3(
        hidden_size=8_192, intermediate_size=28_672, num_layers=80, num_heads=64, head_dim=128
    ),
    "llama3.2-1b": _llama3(
        hidden_size=2_048,
        intermediate_size=8_192,
        num_layers=16,
        num_heads=32,
        head_dim=64,
        max_position=131_072,
        rope=RopeConfig(
            rope_type="llama3",
            theta=500_000.0,
            factor=32.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position=8_192,
        ),
        tie_embeddings=True,
    ),
    "smollm2-135m": LlamaConfig(
        architecture="LlamaForCausalLM",
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1_536,
        num_layers=30,
        num_heads=9,
        num_kv_heads=3,
        head_dim=64,
        max_position=8_192,
        rms_norm_eps=1e-5,
        rope=RopeConfig(theta=100_000.0, original_max_position=8_192),
        tie_embeddings=True,
        bos_ids=(0,),
        eos_ids=(0,),
        pad_id=2,
    ),
}
"""A shape by name."""
