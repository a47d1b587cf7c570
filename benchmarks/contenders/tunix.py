"""Tunix's Llama 3 with its own trainer's compiled step.

Its weights and moments are in the dtype of the computation. Its RoPE has a base of its own
(`apply_rope` isn't given the config's), so its loss isn't the others'; its speed is.
"""

# pyright: reportMissingImports=false
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tunix.models.llama3.model import ModelConfig
from tunix.models.llama3.params import create_model_from_safe_tensors
from tunix.sft.peft_trainer import PeftTrainer, TrainingConfig
from tunix.sft.utils import build_positions_from_mask, make_causal_attn_mask

from benchmarks.serve import Contender, serve
from benchmarks.workload import token_batches


def setup(asked: dict[str, Any]) -> Contender:
    """Args: `config` of `TrainConfig`, whose model is a Hugging Face folder."""
    config = asked["config"]
    shape = json.loads((Path(config["model"]) / "config.json").read_text(encoding="utf-8"))
    llama = ModelConfig(
        num_layers=shape["num_hidden_layers"],
        vocab_size=shape["vocab_size"],
        embed_dim=shape["hidden_size"],
        hidden_dim=shape["intermediate_size"],
        num_heads=shape["num_attention_heads"],
        head_dim=shape["head_dim"],
        num_kv_heads=shape["num_key_value_heads"],
        rope_theta=shape["rope_theta"],
        norm_eps=shape["rms_norm_eps"],
        weight_tying=shape["tie_word_embeddings"],
    )
    axes = ("fsdp", "tp")
    mesh = jax.make_mesh((1, 1), axes, axis_types=(jax.sharding.AxisType.Auto,) * 2)
    dtype = jnp.dtype(config["dtype"])
    model = create_model_from_safe_tensors(config["model"], llama, mesh=mesh, dtype=dtype)
    optimizer = optax.chain(
        optax.clip_by_global_norm(config["clip_norm"]),
        optax.adamw(
            config["learning_rate"],
            config["b1"],
            config["b2"],
            weight_decay=config["weight_decay"],
            mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params),
        ),
    )
    trainer = PeftTrainer(model, optimizer, TrainingConfig(eval_every_n_steps=1_000_000))
    train_step, _ = trainer.jit_train_and_eval_step(cache_nnx_graph=True)
    batches = token_batches(config, shape["vocab_size"])

    def step() -> float:
        tokens = jnp.asarray(next(batches))
        mask = jnp.ones(tokens.shape, jnp.bool_)
        loss, _, _ = train_step(
            {
                "input_tokens": tokens,
                "input_mask": mask,
                "positions": build_positions_from_mask(mask),
                "attention_mask": make_causal_attn_mask(mask),
            }
        )
        return float(np.asarray(loss))

    return Contender(step, {"tunix": version("google-tunix"), "jax": version("jax")})


if __name__ == "__main__":
    serve(setup)
