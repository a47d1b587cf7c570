"""How far gradients computed in bfloat16 are from those in float32, parameter by parameter.

    XLA_FLAGS=--xla_force_host_platform_device_count=4 python -m tests.train.gradient_precision

prints it, as JSON, for meshes of 4 virtual devices. It needs a separate process, because the number
of devices is fixed when JAX starts.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.tree_util import keystr, tree_leaves_with_path, tree_map_with_path

from vcjax.model.build import Params, abstract, initialise, logical_axes, shapes
from vcjax.model.config import LlamaConfig
from vcjax.model.lora import LoraConfig, join_params, split_adapters
from vcjax.model.rope import RopeConfig
from vcjax.parallel import make_mesh, shardings
from vcjax.train.layout import shard_batch
from vcjax.train.losses import dpo_loss, next_token_loss, orpo_loss, pair_log_probs

OBJECTIVES: Mapping[str, Callable] = {
    "next_token": next_token_loss,
    "dpo": partial(dpo_loss, beta=0.1),
    "orpo": partial(orpo_loss, odds_weight=0.1),
}
MODELS: Mapping[str, tuple[dict[str, Any], LoraConfig | None]] = {
    "llama": ({}, None),
    "adapters": ({}, LoraConfig(rank=16)),
    "tied, adapted": ({"tie_embeddings": True, "o_bias": True}, LoraConfig(rank=16)),
    "biases, q/k norms": ({"qkv_bias": True, "mlp_bias": True, "qk_norm": True}, None),
}
CASES = [
    *((model, objective) for model in ("llama", "adapters") for objective in OBJECTIVES),
    ("tied, adapted", "next_token"),
    ("biases, q/k norms", "next_token"),
]
MESHES = (
    ({"fsdp": 2, "tensor": 2}, "next_token"),
    ({"data": 2, "sequence": 2}, "dpo"),
)
VOCAB, ROWS, LENGTH = 1024, 64, 128  # 8,192 tokens


def errors(name: str, objective: str, sizes: Mapping[str, int] | None = None) -> dict[str, float]:
    """By trained parameter, the relative L2 error, over all layers, of a gradient in bfloat16.

    Of the model "adapters" these alone are trained, beside a base in bfloat16, as a run has it; of
    the others all parameters are.

    DPO's is that over the gradient of its chosen side: the two sides nearly cancel where both
    answers are alike, so that the whole may be as small as one likes.

    Args:
      sizes: of the mesh that bfloat16 is computed on; None is one device without a mesh.
    """
    changes, lora = MODELS[name]
    config, options = _config(**changes), {} if lora is None else {"lora": lora}
    params, loss = _params(config, options), OBJECTIVES[objective]
    batch = _zipf_rows() if objective == "next_token" else _pairs()

    def gradient(trained: Params, frozen: Params, batch: dict, graph: nnx.GraphDef) -> Params:
        def summed(trained: Params) -> jax.Array:
            return loss(nnx.merge(graph, join_params(trained, frozen)), batch)[0]

        return jax.grad(summed)(trained)

    def chosen(trained: Params, frozen: Params, batch: dict, graph: nnx.GraphDef) -> Params:
        def side(trained: Params) -> jax.Array:
            log_probs, _ = pair_log_probs(nnx.merge(graph, join_params(trained, frozen)), batch)
            first, second = log_probs[:, 0], jax.lax.stop_gradient(log_probs[:, 1])
            rewards = 0.1 * (jnp.stack([first, second], axis=1) - batch["reference"])
            return -jnp.sum(jax.nn.log_sigmoid(rewards[:, 0] - rewards[:, 1]))

        return jax.grad(side)(trained)

    def split(params: Params) -> tuple[Params, Params]:
        return split_adapters(params) if name == "adapters" else (params, {})

    graph, _ = abstract(config, **options)
    exact = jax.jit(partial(gradient, graph=graph))(*split(params), batch)
    whole = exact
    if objective == "dpo":
        whole = jax.jit(partial(chosen, graph=graph))(*split(params), batch)
    if sizes is not None:
        mesh = make_mesh(sizes)
        places = shardings(mesh, logical_axes(config, **options), shapes(config, **options))
        params = jax.device_put(params, places)
        batch = shard_batch(batch, mesh, len(batch["tokens"]))
        options |= {"mesh": mesh}
    graph, _ = abstract(config, dtype=jnp.bfloat16, **options)
    trained, frozen = split(params)
    frozen = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), frozen)
    low = jax.jit(partial(gradient, graph=graph))(trained, frozen, batch)

    def error(low: jax.Array, exact: jax.Array, whole: jax.Array) -> float:
        difference = np.asarray(low, np.float64) - np.asarray(exact, np.float64)
        return float(np.linalg.norm(difference) / np.linalg.norm(np.asarray(whole, np.float64)))

    leaves = tree_leaves_with_path(jax.tree.map(error, low, exact, whole))
    return {keystr(path, simple=True, separator="."): value for path, value in leaves}


def _config(**changes: Any) -> LlamaConfig:
    return LlamaConfig(
        architecture="LlamaForCausalLM",
        vocab_size=VOCAB,
        hidden_size=64,
        intermediate_size=128,
        num_layers=5,
        num_heads=4,
        num_kv_heads=2,
        head_dim=16,
        max_position=LENGTH,
        rms_norm_eps=1e-5,
        rope=RopeConfig(original_max_position=LENGTH),
        eos_ids=(0,),
        **changes,
    )


def _params(config: LlamaConfig, options: dict) -> Params:
    """As a run begins with, but for what begins with zeros."""
    rng = np.random.default_rng(3)

    def spread(path: tuple, leaf: jax.Array) -> np.ndarray:
        value, name = np.asarray(leaf), keystr(path, simple=True, separator=".")
        if "lora_b" in name or "bias" in name:
            return rng.normal(0, 0.02, value.shape).astype(np.float32)
        return value

    return tree_map_with_path(spread, initialise(config, 7, **options))


def _zipf_rows() -> dict[str, np.ndarray]:
    """The commonest token is about one in seven or eight, as a language's is."""
    frequency = 1 / np.arange(1.0, VOCAB + 1)
    draw = np.random.default_rng(0).choice(VOCAB, (ROWS, LENGTH), p=frequency / frequency.sum())
    order = np.arange(LENGTH, dtype=np.int32)
    return {
        "tokens": draw.astype(np.int32),
        "loss_mask": np.broadcast_to(order > 0, draw.shape),
        "segment_ids": np.ones(draw.shape, np.int32),
        "positions": np.broadcast_to(order, draw.shape),
    }


def _pairs() -> dict[str, np.ndarray]:
    """The same rows as answers of a length to prompts of a quarter of it."""
    rows = {key: value.reshape(-1, 2, LENGTH).copy() for key, value in _zipf_rows().items()}
    prompt = LENGTH // 4
    rows["tokens"][:, 1, :prompt] = rows["tokens"][:, 0, :prompt]
    rows["loss_mask"][..., :prompt] = False
    nats = np.log(VOCAB) * rows["loss_mask"].sum(axis=2)
    noise = np.random.default_rng(5).normal(0, 3, nats.shape)
    return {**rows, "reference": (noise - nats).astype(np.float32)}


def main() -> None:
    found = [
        {"mesh": sizes, "objective": objective, "errors": errors("llama", objective, sizes)}
        for sizes, objective in MESHES
    ]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
